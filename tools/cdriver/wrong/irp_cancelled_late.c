// SPDX-License-Identifier: BSD-2-Clause
// Cancels an IRP that is freed.
#include "irp.h"

WRONG
{
    PIRP irp = IoAllocateIrp(1, FALSE);
    IoFreeIrp(irp);
    IoCancelIrp(irp);
}
