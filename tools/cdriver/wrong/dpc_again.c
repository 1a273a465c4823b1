// SPDX-License-Identifier: BSD-2-Clause
// Initialises a queued DPC.
#include "wrong.h"

static VOID NTAPI routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
}

WRONG
{
    static KDPC dpc;
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeInitializeDpc(&dpc, routine, NULL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
    KeInitializeDpc(&dpc, routine, NULL);
    KeLowerIrql(old);
}
