// SPDX-License-Identifier: BSD-2-Clause
// Leaves a thread.
#include "wrong.h"

static VOID NTAPI wait_for(PVOID event)
{
    KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL);
}

WRONG
{
    static KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    ZwClose(start(wait_for, &event));
    pause(20);
}
