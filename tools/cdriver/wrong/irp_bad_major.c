// SPDX-License-Identifier: BSD-2-Clause
// Sends a major function that does not exist.
#include "irp.h"

WRONG
{
    PDEVICE_OBJECT device = target(NULL);
    PIRP irp = own_irp(device);
    IoGetNextIrpStackLocation(irp)->MajorFunction = 0x40;
    IoCallDriver(device, irp);
}
