// SPDX-License-Identifier: BSD-2-Clause
// A DPC that queues itself again, always: no thread of its processor runs any more.
#include "wrong.h"

static VOID NTAPI routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    KeInsertQueueDpc(dpc, NULL, NULL);
}

WRONG
{
    static KDPC dpc;
    KeInitializeDpc(&dpc, routine, NULL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
}
