// SPDX-License-Identifier: BSD-2-Clause
// A thread's routine returns at APC_LEVEL.
#include "wrong.h"

static VOID NTAPI end(PVOID context)
{
    KIRQL old;
    UNREFERENCED_PARAMETER(context);
    KeRaiseIrql(APC_LEVEL, &old);
}

WRONG
{
    ZwClose(start(end, NULL));
    pause(100);
}
