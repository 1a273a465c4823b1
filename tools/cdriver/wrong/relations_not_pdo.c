// SPDX-License-Identifier: BSD-2-Clause
// Invalidates the relations of a device that is no physical device.
#include "wrong.h"

WRONG
{
    IoInvalidateDeviceRelations(new_device(), BusRelations);
}
