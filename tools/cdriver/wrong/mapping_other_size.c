// SPDX-License-Identifier: BSD-2-Clause
// Unmaps another size than it mapped.
#include "wrong.h"

WRONG
{
    PHYSICAL_ADDRESS address = { .QuadPart = 0xf0000 };
    MmUnmapIoSpace(MmMapIoSpace(address, 16, MmCached), 32);
}
