// SPDX-License-Identifier: BSD-2-Clause
// Maps an MDL without pages.
#include "wrong.h"

WRONG
{
    PMDL mdl = IoAllocateMdl(block(64), 64, FALSE, FALSE, NULL);
    MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}
