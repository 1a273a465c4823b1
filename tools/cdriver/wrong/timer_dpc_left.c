// SPDX-License-Identifier: BSD-2-Clause
// Unloads while a timer outside its image will queue a DPC that runs its code.
#include "wrong.h"

static VOID NTAPI nothing(PKDPC dpc, PVOID context, PVOID a, PVOID b)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(a);
    UNREFERENCED_PARAMETER(b);
}

WRONG
{
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(60000) };
    PKTIMER timer = block(sizeof(*timer) + sizeof(KDPC));
    PKDPC dpc = (PKDPC)(timer + 1);
    KeInitializeDpc(dpc, nothing, NULL);
    KeInitializeTimer(timer);
    KeSetTimer(timer, due, dpc);
}
