// SPDX-License-Identifier: BSD-2-Clause
// Leaves a device.
#include "wrong.h"

WRONG
{
    new_device();
}
