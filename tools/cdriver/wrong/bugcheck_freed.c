// SPDX-License-Identifier: BSD-2-Clause
// Frees a registered bug check record.
#include "wrong.h"

static VOID NTAPI bug_check(PVOID buffer, ULONG length)
{
    UNREFERENCED_PARAMETER(buffer);
    UNREFERENCED_PARAMETER(length);
}

WRONG
{
    PKBUGCHECK_CALLBACK_RECORD record = block(sizeof(*record));
    KeRegisterBugCheckCallback(record, bug_check, NULL, 0, (PUCHAR)"wrong");
    ExFreePoolWithTag(record, TAG);
}
