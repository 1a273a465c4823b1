// SPDX-License-Identifier: BSD-2-Clause
// Corrupts a list and raises the fast fail that a checked list raises.
#include "wrong.h"

WRONG
{
    __asm__ volatile("int $0x29" : : "c"(3));
}
