// SPDX-License-Identifier: BSD-2-Clause
// Deletes a device twice.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT device = new_device();
    ObReferenceObject(device);
    IoDeleteDevice(device);
    IoDeleteDevice(device);
}
