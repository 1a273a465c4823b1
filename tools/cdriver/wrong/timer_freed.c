// SPDX-License-Identifier: BSD-2-Clause
// Frees an active timer.
#include "wrong.h"

WRONG
{
    PKTIMER timer = block(sizeof(*timer));
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(60000) };
    KeInitializeTimer(timer);
    KeSetTimer(timer, due, NULL);
    ExFreePoolWithTag(timer, TAG);
}
