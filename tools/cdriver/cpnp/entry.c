// SPDX-License-Identifier: BSD-2-Clause
// Entry, AddDevice and the helpers that every part uses.
#include "cpnp.h"

static NTSTATUS NTAPI pnp(PDEVICE_OBJECT device, PIRP irp)
{
    EXTENSION *extension = extension_of(device);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    switch (extension->kind) {
    case BUS:
        return bus_pnp(extension, irp);
    case CHILD:
        return child_pnp(extension, irp);
    default:
        return function_pnp(extension, irp);
    }
}

static NTSTATUS NTAPI completed(PDEVICE_OBJECT device, PIRP irp, PVOID event)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    KeSetEvent(event, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

// Sends the request down and waits; the caller completes it.
NTSTATUS forward_and_wait(EXTENSION *extension, PIRP irp)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(irp);
    IoSetCompletionRoutine(irp, completed, &event, TRUE, TRUE, TRUE);
    if (IoCallDriver(extension->lower, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    return irp->IoStatus.Status;
}

NTSTATUS finish(PIRP irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

// Sends a PnP request of our own; `wanted` holds its minor code and parameters.
NTSTATUS send_pnp(PDEVICE_OBJECT device, PIO_STACK_LOCATION wanted, ULONG_PTR *information)
{
    KEVENT event;
    IO_STATUS_BLOCK result;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, device, NULL, 0, NULL, &event, &result);
    if (irp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
    location->MinorFunction = wanted->MinorFunction;
    location->Parameters = wanted->Parameters;
    irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    NTSTATUS status = IoCallDriver(device, irp);
    if (status == STATUS_PENDING)
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    if (information != NULL)
        *information = result.Information;
    return result.Status;
}

static NTSTATUS NTAPI add_device(PDRIVER_OBJECT object, PDEVICE_OBJECT pdo)
{
    WCHAR ids[256] = { 0 };
    ULONG size = 0;
    CHECK_STATUS(IoGetDeviceProperty(pdo, DevicePropertyHardwareID, 0, NULL, &size), STATUS_BUFFER_TOO_SMALL);
    CHECK(size > 8 && size <= sizeof ids);
    CHECK_STATUS(IoGetDeviceProperty(pdo, DevicePropertyHardwareID, sizeof ids, ids, &size), STATUS_SUCCESS);
    CHECK((pdo->Flags & DO_BUS_ENUMERATED_DEVICE) != 0);
    return _wcsnicmp(ids, L"PCI\\", 4) == 0 ? bus_add(object, pdo) : function_add(object, pdo);
}

static VOID NTAPI unload(PDRIVER_OBJECT object)
{
    CHECK(object->DeviceObject == NULL);
    DbgPrint("TEST cpnp_unload %s\n", failures == 0 ? "ok" : "FAIL see above");
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
