// SPDX-License-Identifier: BSD-2-Clause
// Unmaps another address than the MDL's.
#include "wrong.h"

WRONG
{
    PMDL mdl = pages(PAGE_SIZE);
    PUCHAR va = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    MmUnmapLockedPages(va + PAGE_SIZE, mdl);
}
