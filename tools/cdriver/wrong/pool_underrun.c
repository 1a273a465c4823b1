// SPDX-License-Identifier: BSD-2-Clause
// Writes before a block.
#include "wrong.h"

WRONG
{
    PUCHAR memory = block(100);
    memory[-1] = 1;
    ExFreePoolWithTag(memory, TAG);
}
