// SPDX-License-Identifier: BSD-2-Clause
// Leaves a work item.
#include "wrong.h"

WRONG
{
    PDEVICE_OBJECT device = new_device();
    IoAllocateWorkItem(device);
    IoDeleteDevice(device);
}
