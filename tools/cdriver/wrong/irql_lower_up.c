// SPDX-License-Identifier: BSD-2-Clause
// "Lowers" to a higher level.
#include "wrong.h"

WRONG
{
    VOID(NTAPI * lower)(KIRQL) = export(L"KeLowerIrql");
    lower(DISPATCH_LEVEL);
}
