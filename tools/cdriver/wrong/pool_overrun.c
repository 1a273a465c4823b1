// SPDX-License-Identifier: BSD-2-Clause
// Writes behind a block.
#include "wrong.h"

WRONG
{
    PUCHAR memory = block(100);
    memory[100] = 1;
    ExFreePoolWithTag(memory, TAG);
}
