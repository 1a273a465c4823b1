// SPDX-License-Identifier: BSD-2-Clause
// Frees an IRP twice.
#include "irp.h"

WRONG
{
    PIRP irp = IoAllocateIrp(1, FALSE);
    IoFreeIrp(irp);
    IoFreeIrp(irp);
}
