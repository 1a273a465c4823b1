// SPDX-License-Identifier: BSD-2-Clause
// Dereferences memory that is no object.
#include "wrong.h"

WRONG
{
    ObDereferenceObject(block(64));
}
