// SPDX-License-Identifier: BSD-2-Clause
// A bus driver and the driver of its children in one image, as C drivers do it.
#pragma once

#include "../test.h"
#include <initguid.h>
#include <wdmguid.h>

typedef enum { BUS, CHILD, FUNCTION } KIND;

// The extension of every device of this driver.
typedef struct {
    KIND kind;
    PDEVICE_OBJECT self;
    PDEVICE_OBJECT lower;
    PDEVICE_OBJECT pdo;
    IO_REMOVE_LOCK lock;
    // BUS
    PDEVICE_OBJECT children[2];
    BOOLEAN reported[2];
    BUS_INTERFACE_STANDARD pci;
    PKINTERRUPT interrupts[64];
    ULONG interrupt_count;
    PIO_WORKITEM item;
    // CHILD
    ULONG number;
    PDEVICE_OBJECT parent;
    BOOLEAN missing;
} EXTENSION;

static inline EXTENSION *extension_of(PDEVICE_OBJECT device)
{
    return device->DeviceExtension;
}

extern PDEVICE_OBJECT the_bus;

NTSTATUS send_pnp(PDEVICE_OBJECT device, PIO_STACK_LOCATION wanted, ULONG_PTR *information);
NTSTATUS forward_and_wait(EXTENSION *extension, PIRP irp);
NTSTATUS finish(PIRP irp, NTSTATUS status);

NTSTATUS bus_add(PDRIVER_OBJECT object, PDEVICE_OBJECT pdo);
NTSTATUS bus_pnp(EXTENSION *bus, PIRP irp);
NTSTATUS child_pnp(EXTENSION *child, PIRP irp);
NTSTATUS function_add(PDRIVER_OBJECT object, PDEVICE_OBJECT pdo);
NTSTATUS function_pnp(EXTENSION *function, PIRP irp);
NTSTATUS NTAPI power(PDEVICE_OBJECT device, PIRP irp);

VOID NTAPI swap_children(PDEVICE_OBJECT device, PVOID context);
PIO_RESOURCE_REQUIREMENTS_LIST add_messages(PIO_RESOURCE_REQUIREMENTS_LIST list);
NTSTATUS use_resources(EXTENSION *bus, PCM_RESOURCE_LIST raw, PCM_RESOURCE_LIST translated);
void drop_resources(EXTENSION *bus);
