// SPDX-License-Identifier: BSD-2-Clause
// Frees a mutex that it owns.
#include "wrong.h"

WRONG
{
    KMUTEX *mutex = block(sizeof(*mutex));
    KeInitializeMutex(mutex, 0);
    KeWaitForSingleObject(mutex, Executive, KernelMode, FALSE, NULL);
    ExFreePoolWithTag(mutex, TAG);
}
