// SPDX-License-Identifier: BSD-2-Clause
// "Raises" to a lower level.
#include "wrong.h"

WRONG
{
    KIRQL(NTAPI * raise)(KIRQL) = export(L"KfRaiseIrql");
    KIRQL old = KeRaiseIrqlToDpcLevel();
    raise(APC_LEVEL);
    KeLowerIrql(old);
}
