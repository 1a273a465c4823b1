// SPDX-License-Identifier: BSD-2-Clause
// Takes a fast mutex by the unsafe form where it could be suspended while it owns it.
#include "wrong.h"

WRONG
{
    FAST_MUTEX mutex;
    ExInitializeFastMutex(&mutex);
    ExAcquireFastMutexUnsafe(&mutex);
}
