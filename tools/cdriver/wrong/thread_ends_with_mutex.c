// SPDX-License-Identifier: BSD-2-Clause
// A thread ends and owns a mutex.
#include "wrong.h"

static VOID NTAPI end(PVOID mutex)
{
    KeWaitForSingleObject(mutex, Executive, KernelMode, FALSE, NULL);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

WRONG
{
    static KMUTEX mutex;
    KeInitializeMutex(&mutex, 0);
    ZwClose(start(end, &mutex));
    pause(100);
}
