// SPDX-License-Identifier: BSD-2-Clause
// Allocates pool at HIGH_LEVEL.
#include "wrong.h"

WRONG
{
    KIRQL old;
    KeRaiseIrql(HIGH_LEVEL, &old);
    block(16);
    KeLowerIrql(old);
}
