// SPDX-License-Identifier: BSD-2-Clause
// Waits for what is no dispatcher object.
#include "wrong.h"

WRONG
{
    PKEVENT event = block(sizeof(*event));
    event->Header.Type = 77;
    KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL);
}
