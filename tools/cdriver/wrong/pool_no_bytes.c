// SPDX-License-Identifier: BSD-2-Clause
// Allocates no bytes.
#include "wrong.h"

WRONG
{
    ExAllocatePoolWithTag(NonPagedPoolNx, 0, TAG);
}
