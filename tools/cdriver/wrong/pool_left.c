// SPDX-License-Identifier: BSD-2-Clause
// Leaves a block.
#include "wrong.h"

WRONG
{
    block(100);
}
