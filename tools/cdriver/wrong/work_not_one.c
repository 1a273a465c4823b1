// SPDX-License-Identifier: BSD-2-Clause
// Frees what is no work item.
#include "wrong.h"

WRONG
{
    IoFreeWorkItem(block(64));
}
