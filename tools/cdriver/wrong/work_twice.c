// SPDX-License-Identifier: BSD-2-Clause
// Queues a work item that is queued.
#include "wrong.h"

static VOID NTAPI work(PDEVICE_OBJECT device, PVOID context)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(context);
    pause(50);
}

WRONG
{
    PDEVICE_OBJECT device = new_device();
    KIRQL old = KeRaiseIrqlToDpcLevel();
    PIO_WORKITEM item = IoAllocateWorkItem(device);
    IoQueueWorkItem(item, work, DelayedWorkQueue, NULL);
    IoQueueWorkItem(item, work, DelayedWorkQueue, NULL);
    KeLowerIrql(old);
}
