// SPDX-License-Identifier: BSD-2-Clause
// Takes a spin lock that was never initialised.
#include "wrong.h"

WRONG
{
    KIRQL irql;
    KSPIN_LOCK lock = 0xcdcdcdcdcdcdcdcd;
    KeAcquireSpinLock(&lock, &irql);
    KeReleaseSpinLock(&lock, irql);
}
