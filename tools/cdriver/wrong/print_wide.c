// SPDX-License-Identifier: BSD-2-Clause
// Prints wide text at DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    KIRQL old = KeRaiseIrqlToDpcLevel();
    DbgPrint("%ws\n", L"wide");
    KeLowerIrql(old);
}
