// SPDX-License-Identifier: BSD-2-Clause
// Frees an MDL that is mapped.
#include "wrong.h"

WRONG
{
    PMDL mdl = pages(PAGE_SIZE);
    MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    ExFreePool(mdl);
}
