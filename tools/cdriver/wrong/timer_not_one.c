// SPDX-License-Identifier: BSD-2-Clause
// Sets memory that is no timer.
#include "wrong.h"

WRONG
{
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(1) };
    KeSetTimer(block(sizeof(KTIMER)), due, NULL);
}
