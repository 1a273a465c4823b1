// SPDX-License-Identifier: BSD-2-Clause
// Leaves a bug check callback.
#include "wrong.h"

static VOID NTAPI bug_check(PVOID buffer, ULONG length)
{
    UNREFERENCED_PARAMETER(buffer);
    UNREFERENCED_PARAMETER(length);
}

WRONG
{
    static KBUGCHECK_CALLBACK_RECORD record;
    KeRegisterBugCheckCallback(&record, bug_check, NULL, 0, (PUCHAR)"wrong");
}
