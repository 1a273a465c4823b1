// SPDX-License-Identifier: BSD-2-Clause
// Completes an IRP twice.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    finish(irp, STATUS_SUCCESS);
    return finish(irp, STATUS_SUCCESS);
}

WRONG
{
    send(target(dispatch));
}
