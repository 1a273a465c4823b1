// SPDX-License-Identifier: BSD-2-Clause
// Passes on an IRP that it has completed.
#include "irp.h"

static PDEVICE_OBJECT lower;

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    finish(irp, STATUS_SUCCESS);
    return IoCallDriver(lower, irp);
}

WRONG
{
    lower = new_device();
    send(target(dispatch));
}
