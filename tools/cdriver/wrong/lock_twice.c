// SPDX-License-Identifier: BSD-2-Clause
// Takes a spin lock that it holds.
#include "wrong.h"

WRONG
{
    KSPIN_LOCK lock;
    KIRQL old;
    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &old);
    KeAcquireSpinLockAtDpcLevel(&lock);
}
