// SPDX-License-Identifier: BSD-2-Clause
// Leaves a timer running.
#include "wrong.h"

WRONG
{
    static KTIMER timer;
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(60000) };
    KeInitializeTimer(&timer);
    KeSetTimer(&timer, due, NULL);
}
