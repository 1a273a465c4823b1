// SPDX-License-Identifier: BSD-2-Clause
// Frees an address in the middle of a block.
#include "wrong.h"

WRONG
{
    PUCHAR memory = block(100);
    ExFreePoolWithTag(memory + 16, TAG);
}
