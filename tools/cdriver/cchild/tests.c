// SPDX-License-Identifier: BSD-2-Clause
// Which tests there are, and what they share.
#include "child.h"

// One line for each interface.
static void (*const tests[])(void) = {
    query_tests,
    store_tests,
    evtchn_tests,
    shared_info_tests,
    suspend_tests,
    console_tests,
    unplug_tests,
    debug_tests,
    range_set_tests,
    cache_tests,
    gnttab_tests,
};

static XENBUS_STORE_INTERFACE store;
static ULONG asked;

void all_tests(void)
{
    if (!ask_open()) {
        DbgPrint("TEST cchild_has_a_store FAIL no store\n");
    } else if (parameter("Crash", 0) != 0) {
        debug_tests();
    } else if (parameter("Faults", 0) != 0) {
        faults_tests();
        ask_close();
    } else {
        for (ULONG i = 0; i < ARRAYSIZE(tests); i++)
            tests[i]();
        ask_close();
    }
    DbgPrint("RESULT cchild done\n");
}

NTSTATUS query_raw(const GUID *guid, USHORT version, PVOID table, USHORT size, NTSTATUS before, ULONG_PTR *information)
{
    KEVENT event;
    IO_STATUS_BLOCK result;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, below, NULL, 0, NULL, &event, &result);
    if (irp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
    location->MinorFunction = IRP_MN_QUERY_INTERFACE;
    location->Parameters.QueryInterface.InterfaceType = guid;
    location->Parameters.QueryInterface.Size = size;
    location->Parameters.QueryInterface.Version = version;
    location->Parameters.QueryInterface.Interface = table;
    irp->IoStatus.Status = before;
    if (IoCallDriver(below, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    if (information != NULL)
        *information = result.Information;
    return result.Status;
}

BOOLEAN query(const GUID *guid, USHORT version, PVOID table, USHORT size)
{
    NTSTATUS status = query_raw(guid, version, table, size, STATUS_NOT_SUPPORTED, NULL);
    CHECK_STATUS(status, STATUS_SUCCESS);
    return NT_SUCCESS(status);
}

void pause(LONG milliseconds)
{
    LARGE_INTEGER interval;
    interval.QuadPart = MILLISECONDS(milliseconds);
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

void move_to(ULONG processor, GROUP_AFFINITY *before)
{
    PROCESSOR_NUMBER number = {0};
    GROUP_AFFINITY wanted = {0};
    CHECK_STATUS(KeGetProcessorNumberFromIndex(processor, &number), STATUS_SUCCESS);
    wanted.Group = number.Group;
    wanted.Mask = (KAFFINITY)1 << number.Number;
    KeSetSystemGroupAffinityThread(&wanted, before);
    CHECK(KeGetCurrentProcessorNumberEx(NULL) == processor);
}

void move_back(GROUP_AFFINITY *before)
{
    KeRevertToUserGroupAffinityThread(before);
}

BOOLEAN wait_for(volatile LONG *value, LONG wanted)
{
    for (int i = 0; i < 12000; i++) {
        if (InterlockedCompareExchange(value, wanted, wanted) == wanted)
            return TRUE;
        pause(5);
    }
    return FALSE;
}

BOOLEAN ask_open(void)
{
    asked = 0;
    return NT_SUCCESS(query_raw(&GUID_XENBUS_STORE_INTERFACE, XENBUS_STORE_INTERFACE_VERSION_MAX, &store, sizeof store,
                                STATUS_NOT_SUPPORTED, NULL))
        && NT_SUCCESS(XENBUS_STORE(Acquire, &store));
}

void ask_close(void)
{
    XENBUS_STORE(Release, &store);
}

static BOOLEAN answered(char *answer, ULONG size)
{
    char head[16], *text;
    int length = _snprintf(head, sizeof head, "%u ", asked);
    if (!NT_SUCCESS(XENBUS_STORE(Read, &store, NULL, (PSTR)"data/cchild", (PSTR)"answer", &text)))
        return FALSE;
    BOOLEAN ours = _strnicmp(text, head, (size_t)length) == 0;
    if (ours)
        _snprintf(answer, size, "%s", text + length);
    answer[size - 1] = 0;
    XENBUS_STORE(Free, &store, text);
    return ours;
}

BOOLEAN ask(char *answer, ULONG size, const char *format, ...)
{
    char question[200];
    va_list arguments;
    va_start(arguments, format);
    _vsnprintf(question, sizeof question, format, arguments);
    va_end(arguments);
    asked++;
    if (!NT_SUCCESS(XENBUS_STORE(Printf, &store, NULL, (PSTR)"data/cchild", (PSTR)"ask", "%u %s", asked, question)))
        return FALSE;
    for (int i = 0; i < 12000; i++) {
        if (answered(answer, size)) {
            if (_strnicmp(answer, "ok", 2) == 0) {
                char *from = answer[2] == ' ' ? answer + 3 : answer + 2;
                for (char *to = answer; (*to = *from) != 0; to++)
                    from++;
                return TRUE;
            }
            DbgPrint("dom0, asked to %s: %s\n", question, answer);
            return FALSE;
        }
        pause(5);
    }
    return FALSE;
}
