// SPDX-License-Identifier: BSD-2-Clause
// Ends in a bug check and looks at it from a callback, as a crash dump driver does.
#include "../test.h"

static KBUGCHECK_CALLBACK_RECORD record;

static void bug_check_data(void)
{
    CHECK(KeGetCurrentIrql() == HIGH_LEVEL);
    CHECK(KiBugCheckData[0] == 0xc0de && KiBugCheckData[1] == 1 && KiBugCheckData[4] == 4);
    CHECK(record.State == BufferStarted);
    ULONG64 base = 1;
    CHECK(RtlLookupFunctionEntry((ULONG64)bug_check_data, &base, NULL) == NULL || base != 0);
}

static VOID NTAPI bug_check(PVOID buffer, ULONG length)
{
    CHECK(buffer == (PVOID)&record && length == sizeof record);
    RUN(bug_check_data);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver = object;
    if (!KeRegisterBugCheckCallback(&record, bug_check, &record, sizeof record, (PUCHAR)"cbug"))
        return STATUS_UNSUCCESSFUL;
    KeBugCheckEx(0xc0de, 1, 2, 3, 4);
}
