// SPDX-License-Identifier: BSD-2-Clause
// Releases a spin lock that it does not hold.
#include "wrong.h"

WRONG
{
    KSPIN_LOCK lock;
    KeInitializeSpinLock(&lock);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeReleaseSpinLock(&lock, old);
}
