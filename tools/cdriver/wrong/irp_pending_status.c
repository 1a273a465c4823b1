// SPDX-License-Identifier: BSD-2-Clause
// Completes an IRP with STATUS_PENDING.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    return finish(irp, STATUS_PENDING);
}

WRONG
{
    send(target(dispatch));
}
