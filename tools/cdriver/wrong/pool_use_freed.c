// SPDX-License-Identifier: BSD-2-Clause
// Follows a pointer out of freed memory.
#include "wrong.h"

WRONG
{
    PLIST_ENTRY entry = block(sizeof(*entry));
    ExFreePoolWithTag(entry, TAG);
    ((volatile LIST_ENTRY *)entry)->Flink->Flink = NULL;
}
