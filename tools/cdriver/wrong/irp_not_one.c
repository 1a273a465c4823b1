// SPDX-License-Identifier: BSD-2-Clause
// Frees what is no IRP.
#include "irp.h"

WRONG
{
    IoFreeIrp(block(sizeof(IRP)));
}
