// SPDX-License-Identifier: BSD-2-Clause
// Takes a fast mutex that it owns.
#include "wrong.h"

WRONG
{
    FAST_MUTEX mutex;
    ExInitializeFastMutex(&mutex);
    ExAcquireFastMutex(&mutex);
    ExAcquireFastMutex(&mutex);
}
