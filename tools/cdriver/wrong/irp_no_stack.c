// SPDX-License-Identifier: BSD-2-Clause
// Passes an IRP on without a stack location.
#include "irp.h"

WRONG
{
    PIRP irp = IoAllocateIrp(0, FALSE);
    IoCallDriver(new_device(), irp);
}
