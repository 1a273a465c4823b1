// SPDX-License-Identifier: BSD-2-Clause
// The physical devices of the bus.
#include "cpnp.h"

static NTSTATUS id(PIRP irp, PIO_STACK_LOCATION location, EXTENSION *child)
{
    static const WCHAR device[] = L"CTEST\\CHILD\0", hardware[] = L"CTEST\\CHILD_A\0CTEST\\CHILD\0";
    WCHAR instance[] = L"0\0";
    const WCHAR *text;
    SIZE_T size;
    instance[0] = (WCHAR)(L'0' + child->number);
    switch (location->Parameters.QueryId.IdType) {
    case BusQueryDeviceID:
        text = device;
        size = sizeof device;
        break;
    case BusQueryHardwareIDs:
        text = hardware;
        size = sizeof hardware;
        break;
    case BusQueryInstanceID:
        text = instance;
        size = sizeof instance;
        break;
    default:
        return finish(irp, irp->IoStatus.Status);
    }
    PVOID copy = ExAllocatePoolWithTag(PagedPool, size, TAG);
    if (copy == NULL)
        return finish(irp, STATUS_INSUFFICIENT_RESOURCES);
    memcpy(copy, text, size);
    irp->IoStatus.Information = (ULONG_PTR)copy;
    return finish(irp, STATUS_SUCCESS);
}

NTSTATUS child_pnp(EXTENSION *child, PIRP irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    PDEVICE_CAPABILITIES capabilities;
    BOOLEAN missing = child->missing;
    switch (location->MinorFunction) {
    case IRP_MN_START_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
        return finish(irp, STATUS_SUCCESS);
    case IRP_MN_SURPRISE_REMOVAL:
        CHECK(missing);
        return finish(irp, STATUS_SUCCESS);
    case IRP_MN_REMOVE_DEVICE:
        // Deleted inside its own handling, with the function device still attached above.
        if (missing)
            IoDeleteDevice(child->self);
        return finish(irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_CAPABILITIES:
        capabilities = location->Parameters.DeviceCapabilities.Capabilities;
        CHECK(capabilities->Size == sizeof(*capabilities) && capabilities->Version == 1);
        capabilities->UniqueID = TRUE;
        capabilities->Address = child->number;
        for (int i = 0; i < POWER_SYSTEM_MAXIMUM; i++)
            capabilities->DeviceState[i] = i == PowerSystemWorking ? PowerDeviceD0 : PowerDeviceD3;
        return finish(irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_ID:
        return id(irp, location, child);
    default:
        return finish(irp, irp->IoStatus.Status);
    }
}
