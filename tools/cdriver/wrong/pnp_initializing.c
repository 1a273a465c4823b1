// SPDX-License-Identifier: BSD-2-Clause
// Leaves DO_DEVICE_INITIALIZING set after AddDevice.
#include "pnp.h"

static const BOOLEAN leaves = TRUE;

static void wrong_add(void)
{
    self->Flags |= DO_DEVICE_INITIALIZING;
}

static void wrong_start(void)
{
}
