// SPDX-License-Identifier: BSD-2-Clause
// For wrong drivers about PnP: the function driver of the Xen platform device, attached in AddDevice.
#pragma once

#include "wrong.h"

PDRIVER_OBJECT driver;
static PDEVICE_OBJECT self, lower, pdo;

// What is wrong in AddDevice, and in the start request after it has succeeded below.
static void wrong_add(void);
static void wrong_start(void);
// Whether the remove request is handled as it should be.
static const BOOLEAN leaves;

static NTSTATUS NTAPI done(PDEVICE_OBJECT device, PIRP irp, PVOID event)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    KeSetEvent(event, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI pnp(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    UCHAR minor = IoGetCurrentIrpStackLocation(irp)->MinorFunction;
    if (minor == IRP_MN_START_DEVICE) {
        KEVENT event;
        KeInitializeEvent(&event, NotificationEvent, FALSE);
        IoCopyCurrentIrpStackLocationToNext(irp);
        IoSetCompletionRoutine(irp, done, &event, TRUE, TRUE, TRUE);
        IoCallDriver(lower, irp);
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
        wrong_start();
        NTSTATUS status = irp->IoStatus.Status;
        IoCompleteRequest(irp, IO_NO_INCREMENT);
        return status;
    }
    IoSkipCurrentIrpStackLocation(irp);
    NTSTATUS status = IoCallDriver(lower, irp);
    if (minor == IRP_MN_REMOVE_DEVICE && leaves) {
        IoDetachDevice(lower);
        IoDeleteDevice(self);
    }
    return status;
}

static NTSTATUS NTAPI power(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    IoSkipCurrentIrpStackLocation(irp);
    return PoCallDriver(lower, irp);
}

static NTSTATUS NTAPI add_device(PDRIVER_OBJECT object, PDEVICE_OBJECT physical)
{
    pdo = physical;
    NTSTATUS status = IoCreateDevice(object, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &self);
    if (!NT_SUCCESS(status))
        return status;
    lower = IoAttachDeviceToDeviceStack(self, pdo);
    self->Flags &= ~DO_DEVICE_INITIALIZING;
    wrong_add();
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
    object->MajorFunction[IRP_MJ_PNP] = pnp;
    object->MajorFunction[IRP_MJ_POWER] = power;
    return STATUS_SUCCESS;
}
