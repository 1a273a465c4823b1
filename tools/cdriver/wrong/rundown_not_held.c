// SPDX-License-Identifier: BSD-2-Clause
// Releases rundown protection that it does not hold.
#include "wrong.h"

WRONG
{
    EX_RUNDOWN_REF reference;
    ExInitializeRundownProtection(&reference);
    ExReleaseRundownProtection(&reference);
}
