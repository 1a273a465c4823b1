// SPDX-License-Identifier: BSD-2-Clause
// Completes an IRP that has a cancel routine.
#include "irp.h"

static VOID NTAPI cancel(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    IoReleaseCancelSpinLock(irp->CancelIrql);
}

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    IoSetCancelRoutine(irp, cancel);
    return finish(irp, STATUS_SUCCESS);
}

WRONG
{
    send(target(dispatch));
}
