// SPDX-License-Identifier: BSD-2-Clause
// A cancel routine keeps the cancel spin lock.
#include "irp.h"

static VOID NTAPI cancel(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
}

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    IoMarkIrpPending(irp);
    IoSetCancelRoutine(irp, cancel);
    return STATUS_PENDING;
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    PIRP irp = own_irp(device);
    IoCallDriver(device, irp);
    IoCancelIrp(irp);
}
