// SPDX-License-Identifier: BSD-2-Clause
// Waits at DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    KEVENT event;
    LARGE_INTEGER time = { .QuadPart = MILLISECONDS(1) };
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &time);
    KeLowerIrql(old);
}
