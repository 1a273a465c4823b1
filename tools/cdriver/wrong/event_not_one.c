// SPDX-License-Identifier: BSD-2-Clause
// Sets what is no event.
#include "wrong.h"

WRONG
{
    PKEVENT event = block(sizeof(*event));
    event->Header.Type = 77;
    KeSetEvent(event, 0, FALSE);
}
