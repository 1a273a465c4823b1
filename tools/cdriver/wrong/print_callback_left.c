// SPDX-License-Identifier: BSD-2-Clause
// Leaves a debug print callback.
#include "wrong.h"

static VOID seen(PVOID string, ULONG component, ULONG level)
{
    UNREFERENCED_PARAMETER(string);
    UNREFERENCED_PARAMETER(component);
    UNREFERENCED_PARAMETER(level);
}

WRONG
{
    DbgSetDebugPrintCallback((PDEBUG_PRINT_CALLBACK)seen, TRUE);
}
