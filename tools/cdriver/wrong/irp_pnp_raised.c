// SPDX-License-Identifier: BSD-2-Clause
// Sends a PnP IRP at DISPATCH_LEVEL.
#include "irp.h"

WRONG
{
    PDEVICE_OBJECT device = target(NULL);
    PIRP irp = own_irp(device);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_PNP;
    KIRQL old = KeRaiseIrqlToDpcLevel();
    IoCallDriver(device, irp);
    KeLowerIrql(old);
}
