// SPDX-License-Identifier: BSD-2-Clause
// Returns with a spin lock held.
#include "wrong.h"

WRONG
{
    static KSPIN_LOCK lock;
    KeInitializeSpinLock(&lock);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&lock);
    KeLowerIrql(old);
}
