// SPDX-License-Identifier: BSD-2-Clause
// Leaves a mapping of I/O space.
#include "wrong.h"

WRONG
{
    PHYSICAL_ADDRESS address = { .QuadPart = 0xf0000 };
    MmMapIoSpace(address, 16, MmCached);
}
