// SPDX-License-Identifier: BSD-2-Clause
// Leaves a reference to a thread that has ended.
#include "wrong.h"

static VOID NTAPI end(PVOID context)
{
    UNREFERENCED_PARAMETER(context);
}

WRONG
{
    PVOID thread;
    HANDLE handle = start(end, NULL);
    ObReferenceObjectByHandle(handle, SYNCHRONIZE, NULL, KernelMode, &thread, NULL);
    ZwClose(handle);
    pause(20);
}
