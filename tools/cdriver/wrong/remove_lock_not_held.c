// SPDX-License-Identifier: BSD-2-Clause
// Begins removal without holding the remove lock.
#include "wrong.h"

WRONG
{
    static IO_REMOVE_LOCK lock;
    IoInitializeRemoveLock(&lock, TAG, 0, 0);
    IoReleaseRemoveLockAndWait(&lock, NULL);
}
