// SPDX-License-Identifier: BSD-2-Clause
// Attaches a device twice.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT lower = new_device(), upper = new_device();
    IoAttachDeviceToDeviceStack(upper, lower);
    IoAttachDeviceToDeviceStack(upper, new_device());
}
