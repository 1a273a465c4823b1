// SPDX-License-Identifier: BSD-2-Clause
// Releases the cancel spin lock without holding it.
#include "irp.h"

WRONG
{
    KIRQL old = KeRaiseIrqlToDpcLevel();
    IoReleaseCancelSpinLock(old);
}
