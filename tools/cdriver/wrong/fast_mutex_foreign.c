// SPDX-License-Identifier: BSD-2-Clause
// Releases a fast mutex that it does not own.
#include "wrong.h"

WRONG
{
    FAST_MUTEX mutex;
    KIRQL old;
    ExInitializeFastMutex(&mutex);
    KeRaiseIrql(APC_LEVEL, &old);
    ExReleaseFastMutex(&mutex);
}
