// SPDX-License-Identifier: BSD-2-Clause
// A thread ends in a critical region.
#include "wrong.h"

static VOID NTAPI end(PVOID context)
{
    UNREFERENCED_PARAMETER(context);
    KeEnterCriticalRegion();
    PsTerminateSystemThread(STATUS_SUCCESS);
}

WRONG
{
    ZwClose(start(end, NULL));
    pause(100);
}
