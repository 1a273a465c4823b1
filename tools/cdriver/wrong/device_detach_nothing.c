// SPDX-License-Identifier: BSD-2-Clause
// Detaches where nothing is attached.
#include "wrong.h"

WRONG
{
    IoDetachDevice(new_device());
}
