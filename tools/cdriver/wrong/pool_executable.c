// SPDX-License-Identifier: BSD-2-Clause
// Asks for executable pool.
#include "wrong.h"

WRONG
{
    ExAllocatePoolWithTag(NonPagedPool, 16, TAG);
}
