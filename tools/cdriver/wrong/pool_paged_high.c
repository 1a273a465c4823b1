// SPDX-License-Identifier: BSD-2-Clause
// Allocates paged pool at DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    KIRQL old = KeRaiseIrqlToDpcLevel();
    ExAllocatePoolWithTag(PagedPool, 16, TAG);
    KeLowerIrql(old);
}
