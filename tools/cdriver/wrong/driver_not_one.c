// SPDX-License-Identifier: BSD-2-Clause
// Creates a device for what is no driver.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT device;
    IoCreateDevice(block(sizeof(DRIVER_OBJECT)), 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
}
