// SPDX-License-Identifier: BSD-2-Clause
// Frees a block with another tag.
#include "wrong.h"

WRONG
{
    ExFreePoolWithTag(block(100), 'rehO');
}
