// SPDX-License-Identifier: BSD-2-Clause
// Releases a semaphore over its limit.
#include "wrong.h"

WRONG
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 1, 1);
    KeReleaseSemaphore(&semaphore, 0, 1, FALSE);
}
