// SPDX-License-Identifier: BSD-2-Clause
// Sets the priority of what is no thread.
#include "wrong.h"

WRONG
{
    KeSetPriorityThread(block(64), LOW_PRIORITY);
}
