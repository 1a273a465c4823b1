// SPDX-License-Identifier: BSD-2-Clause
// Frees a block twice.
#include "wrong.h"

WRONG
{
    PVOID memory = block(100);
    ExFreePoolWithTag(memory, TAG);
    ExFreePoolWithTag(memory, TAG);
}
