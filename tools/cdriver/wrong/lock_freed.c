// SPDX-License-Identifier: BSD-2-Clause
// Frees memory with a held spin lock in it.
#include "wrong.h"

WRONG
{
    PKSPIN_LOCK lock = block(sizeof(*lock));
    KIRQL old;
    KeInitializeSpinLock(lock);
    KeAcquireSpinLock(lock, &old);
    ExFreePoolWithTag(lock, TAG);
}
