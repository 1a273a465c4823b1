// SPDX-License-Identifier: BSD-2-Clause
// Asks for a second power IRP from within the first.
#include "pnp.h"

static const BOOLEAN leaves = TRUE;

static NTSTATUS NTAPI again(PDEVICE_OBJECT device, PIRP irp)
{
    POWER_STATE state = { .DeviceState = PowerDeviceD3 };
    PoRequestPowerIrp(pdo, IRP_MN_SET_POWER, state, NULL, NULL, NULL);
    return power(device, irp);
}

static void wrong_add(void)
{
}

static void wrong_start(void)
{
    POWER_STATE state = { .DeviceState = PowerDeviceD0 };
    self->DriverObject->MajorFunction[IRP_MJ_POWER] = again;
    PoRequestPowerIrp(pdo, IRP_MN_SET_POWER, state, NULL, NULL, NULL);
}
