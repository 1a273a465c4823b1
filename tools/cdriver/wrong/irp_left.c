// SPDX-License-Identifier: BSD-2-Clause
// Leaves an IRP.
#include "irp.h"

WRONG
{
    IoAllocateIrp(1, FALSE);
}
