// SPDX-License-Identifier: BSD-2-Clause
// Deletes a device that is attached to another.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT lower = new_device(), upper = new_device();
    IoAttachDeviceToDeviceStack(upper, lower);
    IoDeleteDevice(upper);
}
