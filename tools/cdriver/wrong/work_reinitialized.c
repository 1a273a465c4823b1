// SPDX-License-Identifier: BSD-2-Clause
// Initialises a work item that is queued.
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
    PIO_WORKITEM item = block(IoSizeofWorkItem());
    KIRQL old = KeRaiseIrqlToDpcLevel();
    IoInitializeWorkItem(device, item);
    IoQueueWorkItem(item, work, DelayedWorkQueue, NULL);
    IoInitializeWorkItem(device, item);
    KeLowerIrql(old);
}
