// SPDX-License-Identifier: BSD-2-Clause
// For wrong drivers about IRPs: a device whose driver handles IRP_MJ_DEVICE_CONTROL with DISPATCH's body.
#pragma once

#include "wrong.h"

#define DISPATCH static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)

static inline NTSTATUS finish(PIRP irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static inline PDEVICE_OBJECT target(PDRIVER_DISPATCH routine)
{
    PDEVICE_OBJECT device = new_device();
    device->DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = routine;
    return device;
}

// Sends an IRP that the kernel built.
static inline NTSTATUS send(PDEVICE_OBJECT device)
{
    static KEVENT event;
    static IO_STATUS_BLOCK status;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    PIRP irp = IoBuildDeviceIoControlRequest(0x220004, device, NULL, 0, NULL, 0, FALSE, &event, &status);
    return IoCallDriver(device, irp);
}

static inline NTSTATUS NTAPI take_back(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    UNREFERENCED_PARAMETER(context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

// An IRP that the driver allocated.
static inline PIRP own_irp(PDEVICE_OBJECT device)
{
    PIRP irp = IoAllocateIrp(device->StackSize, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    IoSetCompletionRoutine(irp, take_back, NULL, TRUE, TRUE, TRUE);
    return irp;
}
