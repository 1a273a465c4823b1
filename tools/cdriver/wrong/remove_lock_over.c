// SPDX-License-Identifier: BSD-2-Clause
// Releases a remove lock more often than it took it.
#include "wrong.h"

WRONG
{
    static IO_REMOVE_LOCK lock;
    IoInitializeRemoveLock(&lock, TAG, 0, 0);
    IoReleaseRemoveLock(&lock, NULL);
}
