// SPDX-License-Identifier: BSD-2-Clause
// Releases a mutex that it does not own.
#include "wrong.h"

WRONG
{
    KMUTEX mutex;
    KeInitializeMutex(&mutex, 0);
    KeReleaseMutex(&mutex, FALSE);
}
