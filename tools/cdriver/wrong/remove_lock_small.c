// SPDX-License-Identifier: BSD-2-Clause
// Gives too small a remove lock.
#include "wrong.h"

WRONG
{
    IoInitializeRemoveLockEx(block(64), TAG, 0, 0, 8);
}
