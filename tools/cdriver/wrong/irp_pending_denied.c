// SPDX-License-Identifier: BSD-2-Clause
// Marks the IRP pending and returns another status.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    IoMarkIrpPending(irp);
    return finish(irp, STATUS_SUCCESS);
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    IoCallDriver(device, own_irp(device));
}
