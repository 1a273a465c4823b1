// SPDX-License-Identifier: BSD-2-Clause
// Runs into a breakpoint, as a failed assertion does.
#include "wrong.h"

WRONG
{
    __asm__ volatile("int $0x2c");
}
