// SPDX-License-Identifier: BSD-2-Clause
// Queues a work item of the old kind twice before it runs.
#include "wrong.h"

#pragma clang diagnostic ignored "-Wdeprecated-declarations"

static WORK_QUEUE_ITEM item;

static VOID NTAPI nothing(PVOID context)
{
    UNREFERENCED_PARAMETER(context);
}

WRONG
{
    KIRQL irql;
    ExInitializeWorkItem(&item, nothing, NULL);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    KeLowerIrql(irql);
}
