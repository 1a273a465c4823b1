// SPDX-License-Identifier: BSD-2-Clause
// Initialises an active timer.
#include "wrong.h"

WRONG
{
    static KTIMER timer;
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(60000) };
    KeInitializeTimerEx(&timer, NotificationTimer);
    KeSetTimer(&timer, due, NULL);
    KeInitializeTimerEx(&timer, NotificationTimer);
}
