// SPDX-License-Identifier: BSD-2-Clause
// Releases a spin lock below DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    KSPIN_LOCK lock;
    KeInitializeSpinLock(&lock);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeAcquireSpinLockAtDpcLevel(&lock);
    KeLowerIrql(old);
    KeReleaseSpinLockFromDpcLevel(&lock);
}
