// SPDX-License-Identifier: BSD-2-Clause
// Sets an event and promises a wait.
#include "wrong.h"

WRONG
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    KeSetEvent(&event, 0, TRUE);
}
