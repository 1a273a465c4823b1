// SPDX-License-Identifier: BSD-2-Clause
// Frees an event that a thread waits for.
#include "wrong.h"

static VOID NTAPI wait_for(PVOID event)
{
    KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL);
}

WRONG
{
    PKEVENT event = block(sizeof(*event));
    KeInitializeEvent(event, NotificationEvent, FALSE);
    ZwClose(start(wait_for, event));
    pause(20);
    ExFreePoolWithTag(event, TAG);
}
