// SPDX-License-Identifier: BSD-2-Clause
// Leaves a reference to a deleted device.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT device = new_device();
    ObReferenceObject(device);
    IoDeleteDevice(device);
}
