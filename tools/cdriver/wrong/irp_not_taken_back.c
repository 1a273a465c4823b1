// SPDX-License-Identifier: BSD-2-Clause
// Lets an IRP that it allocated complete without taking it back.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    return finish(irp, STATUS_SUCCESS);
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    PIRP irp = IoAllocateIrp(device->StackSize, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    IoCallDriver(device, irp);
}
