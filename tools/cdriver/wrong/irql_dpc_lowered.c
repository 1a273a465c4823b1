// SPDX-License-Identifier: BSD-2-Clause
// A DPC routine returns at another level.
#include "wrong.h"

static VOID NTAPI routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    KIRQL old;
    KeRaiseIrql(HIGH_LEVEL, &old);
}

WRONG
{
    static KDPC dpc;
    KeInitializeDpc(&dpc, routine, NULL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}
