// SPDX-License-Identifier: BSD-2-Clause
// Frees an IRP that a driver still has.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    IoMarkIrpPending(irp);
    return STATUS_PENDING;
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    PIRP irp = own_irp(device);
    IoCallDriver(device, irp);
    IoFreeIrp(irp);
}
