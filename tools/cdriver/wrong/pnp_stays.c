// SPDX-License-Identifier: BSD-2-Clause
// Stays attached after the remove request.
#include "pnp.h"

static const BOOLEAN leaves = FALSE;

static void wrong_add(void)
{
}

static void wrong_start(void)
{
}
