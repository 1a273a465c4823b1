// SPDX-License-Identifier: BSD-2-Clause
// Entry, AddDevice and PnP of a function driver with a remove lock.
#include <initguid.h>

#include "child.h"

PDEVICE_OBJECT below;

typedef struct {
    PDEVICE_OBJECT self;
    PDEVICE_OBJECT lower;
    IO_REMOVE_LOCK lock;
    BOOLEAN started;
} EXTENSION;

static NTSTATUS finish(PIRP irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI completed(PDEVICE_OBJECT device, PIRP irp, PVOID event)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    KeSetEvent(event, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS pass(EXTENSION *child, PIRP irp)
{
    IoSkipCurrentIrpStackLocation(irp);
    return IoCallDriver(child->lower, irp);
}

static NTSTATUS start(EXTENSION *child, PIRP irp)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(irp);
    IoSetCompletionRoutine(irp, completed, &event, TRUE, TRUE, TRUE);
    if (IoCallDriver(child->lower, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    if (NT_SUCCESS(irp->IoStatus.Status)) {
        child->started = TRUE;
        below = child->lower;
        all_tests();
    }
    return finish(irp, irp->IoStatus.Status);
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)
{
    EXTENSION *child = device->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    // In the stack, but AddDevice has not returned.
    if (child->lower == NULL)
        return finish(irp, STATUS_DEVICE_NOT_READY);
    NTSTATUS status = IoAcquireRemoveLock(&child->lock, irp);
    if (!NT_SUCCESS(status))
        return finish(irp, status);
    if (location->MajorFunction == IRP_MJ_CREATE) {
        status = finish(irp, STATUS_ACCESS_DENIED);
    } else if (location->MajorFunction != IRP_MJ_PNP) {
        status = pass(child, irp);
    } else switch (location->MinorFunction) {
    case IRP_MN_START_DEVICE:
        status = start(child, irp);
        break;
    case IRP_MN_REMOVE_DEVICE:
        child->started = FALSE;
        IoReleaseRemoveLockAndWait(&child->lock, irp);
        irp->IoStatus.Status = STATUS_SUCCESS;
        status = pass(child, irp);
        IoDetachDevice(child->lower);
        IoDeleteDevice(device);
        return status;
    case IRP_MN_STOP_DEVICE:
        CHECK(child->started);
        child->started = FALSE;
        // Fall through.
    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
        irp->IoStatus.Status = STATUS_SUCCESS;
        status = pass(child, irp);
        break;
    default:
        status = pass(child, irp);
    }
    IoReleaseRemoveLock(&child->lock, irp);
    return status;
}

static NTSTATUS NTAPI add_device(PDRIVER_OBJECT object, PDEVICE_OBJECT pdo)
{
    PDEVICE_OBJECT self;
    NTSTATUS status = IoCreateDevice(object, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &self);
    if (!NT_SUCCESS(status))
        return status;
    EXTENSION *child = self->DeviceExtension;
    child->self = self;
    IoInitializeRemoveLock(&child->lock, TAG, 0, 0);
    child->lower = IoAttachDeviceToDeviceStack(self, pdo);
    if (child->lower == NULL) {
        IoDeleteDevice(self);
        return STATUS_NO_SUCH_DEVICE;
    }
    self->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static VOID NTAPI unload(PDRIVER_OBJECT object)
{
    UNREFERENCED_PARAMETER(object);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver = object;
    object->DriverUnload = unload;
    object->DriverExtension->AddDevice = add_device;
    for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        object->MajorFunction[major] = dispatch;
    return STATUS_SUCCESS;
}
