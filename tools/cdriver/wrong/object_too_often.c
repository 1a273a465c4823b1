// SPDX-License-Identifier: BSD-2-Clause
// Dereferences a device once more than it was referenced.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT device = new_device();
    ObReferenceObject(device);
    IoDeleteDevice(device);
    ObDereferenceObject(device);
    ObDereferenceObject(device);
}
