// SPDX-License-Identifier: BSD-2-Clause
// Frees the pages of an MDL twice.
#include "wrong.h"

WRONG
{
    PMDL mdl = pages(PAGE_SIZE), copy = block(mdl->Size);
    memcpy(copy, mdl, mdl->Size);
    MmFreePagesFromMdl(mdl);
    MmFreePagesFromMdl(copy);
}
