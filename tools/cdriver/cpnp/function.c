// SPDX-License-Identifier: BSD-2-Clause
// The function devices on the children, and power of all three kinds of device.
#include "cpnp.h"

NTSTATUS function_add(PDRIVER_OBJECT object, PDEVICE_OBJECT pdo)
{
    PDEVICE_OBJECT self;
    NTSTATUS status = IoCreateDevice(object, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &self);
    if (!NT_SUCCESS(status))
        return status;
    EXTENSION *function = extension_of(self);
    function->kind = FUNCTION;
    function->self = self;
    function->pdo = pdo;
    function->lower = IoAttachDeviceToDeviceStack(self, pdo);
    CHECK(function->lower == pdo);
    self->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static KEVENT powered;

static VOID NTAPI device_powered(PDEVICE_OBJECT device, UCHAR minor, POWER_STATE state, PVOID context, PIO_STATUS_BLOCK status)
{
    CHECK(minor == IRP_MN_SET_POWER && state.DeviceState == PowerDeviceD0 && NT_SUCCESS(status->Status));
    CHECK(device != NULL && context == (PVOID)0x44);
    KeSetEvent(&powered, IO_NO_INCREMENT, FALSE);
}

static void started(EXTENSION *function)
{
    EXTENSION *child = extension_of(function->pdo);
    POWER_STATE state = { .DeviceState = PowerDeviceD0 };
    HANDLE key;
    KeInitializeEvent(&powered, NotificationEvent, FALSE);
    CHECK_STATUS(PoRequestPowerIrp(function->pdo, IRP_MN_SET_POWER, state, device_powered, (PVOID)0x44, NULL), STATUS_PENDING);
    KeWaitForSingleObject(&powered, Executive, KernelMode, FALSE, NULL);
    PoSetPowerState(function->self, DevicePowerState, state);
    CHECK_STATUS(IoOpenDeviceRegistryKey(function->pdo, PLUGPLAY_REGKEY_DEVICE, KEY_READ, &key), STATUS_SUCCESS);
    ZwClose(key);
    static const GUID class = { 0xc, 0x70, 0x79, { 1, 2, 3, 4, 5, 6, 7, 8 } };
    UNICODE_STRING link;
    CHECK_STATUS(IoRegisterDeviceInterface(function->pdo, &class, NULL, &link), STATUS_SUCCESS);
    CHECK_STATUS(IoSetDeviceInterfaceState(&link, TRUE), STATUS_SUCCESS);
    CHECK_STATUS(IoSetDeviceInterfaceState(&link, FALSE), STATUS_SUCCESS);
    RtlFreeUnicodeString(&link);
    IoInvalidateDeviceState(function->pdo);
    DbgPrint("TEST cpnp_child%d %s\n", child->number, failures == 0 ? "ok" : "FAIL see above");
    if (child->number == 0)
        IoQueueWorkItem(extension_of(the_bus)->item, swap_children, DelayedWorkQueue, NULL);
    else
        DbgPrint("RESULT cpnp.done 1\n");
}

NTSTATUS function_pnp(EXTENSION *function, PIRP irp)
{
    NTSTATUS status;
    switch (IoGetCurrentIrpStackLocation(irp)->MinorFunction) {
    case IRP_MN_START_DEVICE:
        status = forward_and_wait(function, irp);
        if (NT_SUCCESS(status))
            started(function);
        return finish(irp, status);
    case IRP_MN_REMOVE_DEVICE:
        irp->IoStatus.Status = STATUS_SUCCESS;
        IoSkipCurrentIrpStackLocation(irp);
        status = IoCallDriver(function->lower, irp);
        IoDetachDevice(function->lower);
        IoDeleteDevice(function->self);
        DbgPrint("TEST cpnp_remove %s\n", failures == 0 ? "ok" : "FAIL see above");
        return status;
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
        irp->IoStatus.Status = STATUS_SUCCESS;
        // Fall through.
    default:
        IoSkipCurrentIrpStackLocation(irp);
        return IoCallDriver(function->lower, irp);
    }
}

static VOID NTAPI device_irp_done(PDEVICE_OBJECT device, UCHAR minor, POWER_STATE state, PVOID context, PIO_STATUS_BLOCK status)
{
    PIRP irp = context;
    UNREFERENCED_PARAMETER(minor);
    UNREFERENCED_PARAMETER(state);
    UNREFERENCED_PARAMETER(device);
    CHECK(NT_SUCCESS(status->Status));
    EXTENSION *extension = extension_of(IoGetCurrentIrpStackLocation(irp)->DeviceObject);
    PoStartNextPowerIrp(irp);
    IoSkipCurrentIrpStackLocation(irp);
    PoCallDriver(extension->lower, irp);
}

// System power of a function device: first the device power that goes with it, then the system IRP goes down.
NTSTATUS NTAPI power(PDEVICE_OBJECT device, PIRP irp)
{
    EXTENSION *extension = extension_of(device);
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    if (extension->kind == CHILD)
        return finish(irp, STATUS_SUCCESS);
    if (location->MinorFunction == IRP_MN_SET_POWER && location->Parameters.Power.Type == SystemPowerState) {
        POWER_STATE state;
        BOOLEAN working = location->Parameters.Power.State.SystemState == PowerSystemWorking;
        state.DeviceState = working ? PowerDeviceD0 : PowerDeviceD3;
        IoMarkIrpPending(irp);
        CHECK_STATUS(PoRequestPowerIrp(extension->pdo, IRP_MN_SET_POWER, state, device_irp_done, irp, NULL), STATUS_PENDING);
        return STATUS_PENDING;
    }
    PoStartNextPowerIrp(irp);
    IoSkipCurrentIrpStackLocation(irp);
    return PoCallDriver(extension->lower, irp);
}
