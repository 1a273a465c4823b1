// SPDX-License-Identifier: BSD-2-Clause
// Writes through a null pointer.
#include "wrong.h"

WRONG
{
    *(volatile int *)driver->DeviceObject = 1;
}
