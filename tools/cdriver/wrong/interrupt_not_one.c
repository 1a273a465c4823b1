// SPDX-License-Identifier: BSD-2-Clause
// Takes the lock of what is no interrupt.
#include "wrong.h"

WRONG
{
    KeAcquireInterruptSpinLock(block(64));
}
