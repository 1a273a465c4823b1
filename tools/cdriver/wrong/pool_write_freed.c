// SPDX-License-Identifier: BSD-2-Clause
// Writes to freed memory.
#include "wrong.h"

WRONG
{
    for (int i = 0; i < 2000; i++) {
        PUCHAR memory = block(100);
        ExFreePoolWithTag(memory, TAG);
        memory[i % 96] = 1;
    }
}
