// SPDX-License-Identifier: BSD-2-Clause
// Returns from DriverEntry at DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    KeRaiseIrqlToDpcLevel();
}
