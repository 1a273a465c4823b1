// SPDX-License-Identifier: BSD-2-Clause
// Returns success and completes nothing.
#include "irp.h"

DISPATCH
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    return STATUS_SUCCESS;
}

WRONG
{
    PDEVICE_OBJECT device = target(dispatch);
    IoCallDriver(device, own_irp(device));
}
