// SPDX-License-Identifier: BSD-2-Clause
// Deletes what is no device.
#include "wrong.h"

WRONG
{
    IoDeleteDevice(block(sizeof(DEVICE_OBJECT)));
}
