// SPDX-License-Identifier: BSD-2-Clause
// Returns STATUS_PENDING without marking the IRP.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    return STATUS_PENDING;
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    PIRP irp = own_irp(device);
    IoCallDriver(device, irp);
    finish(irp, STATUS_SUCCESS);
}
