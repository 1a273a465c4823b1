// SPDX-License-Identifier: BSD-2-Clause
// Lowers the IRQL with a spin lock held and goes on.
#include "wrong.h"

WRONG
{
    static KSPIN_LOCK lock;
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeInitializeSpinLock(&lock);
    KIRQL old;
    KeAcquireSpinLock(&lock, &old);
    KeLowerIrql(old);
    KeSetEvent(&event, 0, FALSE);
}
