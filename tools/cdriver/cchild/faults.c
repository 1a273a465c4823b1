// SPDX-License-Identifier: BSD-2-Clause
// STORE while xenstored is silent, is replaced, and is killed and started again. Run in a guest of their own.
#include "child.h"

// Requests at once.
#define OUTSTANDING 256
#define DISCONNECTED ((NTSTATUS)0xC000020CL)

static XENBUS_STORE_INTERFACE store;
static XENBUS_ASYNC_STORE_INTERFACE async_store;
static const PSTR base = (PSTR)"data/cchild/faults";

static volatile LONG answered, good;

static VOID NTAPI completed(PVOID context, NTSTATUS status, const UCHAR *data, ULONG length)
{
    UNREFERENCED_PARAMETER(context);
    if (NT_SUCCESS(status) && length == 1 && data[0] == '7')
        InterlockedIncrement(&good);
    InterlockedIncrement(&answered);
}

// From DISPATCH_LEVEL, where nobody could wait.
static void store_loses_nothing_to_a_silent_xenstored(void)
{
    static PXENBUS_ASYNC_STORE_REQUEST_HANDLE handles[OUTSTANDING];
    static const char path[] = "data/cchild/faults/key";
    XENBUS_ASYNC_STORE_REQUEST request = {0};
    char answer[64];
    ULONG submitted = 0;
    KIRQL irql;
    answered = good = 0;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "%u", 7), STATUS_SUCCESS);
    CHECK(ask(answer, sizeof answer, "xenstored silence 9000"));
    pause(3000);
    request.Size = sizeof request;
    request.Operation = XENBUS_ASYNC_STORE_OP_READ;
    request.Path = (const UCHAR *)path;
    request.PathLength = sizeof path - 1;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    while (submitted < OUTSTANDING
           && NT_SUCCESS(XENBUS_ASYNC_STORE(Submit, &async_store, &request, completed, NULL, &handles[submitted])))
        submitted++;
    KeLowerIrql(irql);
    CHECK(submitted == OUTSTANDING && answered == 0);
    DbgPrint("RESULT pending %u\n", submitted - (ULONG)answered);
    CHECK(wait_for(&answered, OUTSTANDING));
    DbgPrint("RESULT pending %u\n", submitted - (ULONG)answered);
    CHECK(good == OUTSTANDING);
    while (submitted > 0)
        XENBUS_ASYNC_STORE(Close, &async_store, handles[--submitted]);
}

// What happened to requests that came one after the other, in a thread of their own.
typedef struct {
    volatile LONG stop, done, lost, wrong;
} LOAD;

static VOID NTAPI load_thread(PVOID context)
{
    LOAD *load = context;
    while (load->stop == 0) {
        PXENBUS_STORE_TRANSACTION transaction;
        PSTR text;
        NTSTATUS status = XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"load", "%u", 1);
        if (NT_SUCCESS(status)) {
            status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"load", &text);
            if (NT_SUCCESS(status))
                XENBUS_STORE(Free, &store, text);
        }
        if (NT_SUCCESS(status))
            status = XENBUS_STORE(TransactionStart, &store, &transaction);
        if (NT_SUCCESS(status)) {
            NTSTATUS inside = XENBUS_STORE(Printf, &store, transaction, base, (PSTR)"load", "%u", 2);
            status = XENBUS_STORE(TransactionEnd, &store, transaction, NT_SUCCESS(inside));
            if (!NT_SUCCESS(inside))
                status = inside;
        }
        if (NT_SUCCESS(status))
            load->done++;
        else if (status == DISCONNECTED || status == STATUS_RETRY || status == STATUS_UNSUCCESSFUL)
            load->lost++;
        else {
            DbgPrint("load: status %08x\n", status);
            load->wrong++;
        }
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

// Asks dom0 while the load runs.
static void ask_under_load(LOAD *load, const char *question)
{
    char answer[64];
    HANDLE handle;
    PVOID thread;
    NTSTATUS status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, load_thread, load);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (!NT_SUCCESS(status))
        return;
    status = ObReferenceObjectByHandle(handle, SYNCHRONIZE, THREAD_TYPE, KernelMode, &thread, NULL);
    ZwClose(handle);
    CHECK_STATUS(status, STATUS_SUCCESS);
    CHECK(ask(answer, sizeof answer, "%s", question));
    load->stop = 1;
    if (NT_SUCCESS(status)) {
        KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(thread);
    }
}

static void store_notices_nothing_of_a_live_update(void)
{
    LOAD load = {0};
    ask_under_load(&load, "xenstored update");
    CHECK(load.done > 0);
    CHECK(load.lost == 0 && load.wrong == 0);
}

static void store_goes_on_after_a_restart_under_load(void)
{
    LOAD load = {0};
    KEVENT event;
    PXENBUS_STORE_WATCH watch;
    PXENBUS_STORE_TRANSACTION transaction;
    PSTR text;
    LARGE_INTEGER limit;
    char answer[64];
    limit.QuadPart = MILLISECONDS(60000);
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "%u", 7), STATUS_SUCCESS);
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    NTSTATUS status = XENBUS_STORE(WatchAdd, &store, base, (PSTR)"key", &event, &watch);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (!NT_SUCCESS(status))
        return;
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    status = XENBUS_STORE(TransactionStart, &store, &transaction);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status))
        CHECK_STATUS(XENBUS_STORE(Printf, &store, transaction, base, (PSTR)"key", "%u", 9), STATUS_SUCCESS);
    ask_under_load(&load, "xenstored restart 1500");
    DbgPrint("RESULT restart done=%d lost=%d\n", load.done, load.lost);
    CHECK(load.done > 0 && load.lost > 0 && load.wrong == 0);
    if (NT_SUCCESS(status))
        CHECK_STATUS(XENBUS_STORE(TransactionEnd, &store, transaction, TRUE), STATUS_RETRY);
    // Told once that anything may have changed, and then of what did.
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    CHECK(ask(answer, sizeof answer, "store write data/cchild/faults/key 8"));
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"key", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "8") == 0);
        XENBUS_STORE(Free, &store, text);
    }
    CHECK_STATUS(XENBUS_STORE(WatchRemove, &store, watch), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
}

void faults_tests(void)
{
    if (!QUERY(XENBUS_STORE, XENBUS_STORE_INTERFACE_VERSION_MAX, &store) || !NT_SUCCESS(XENBUS_STORE(Acquire, &store))) {
        DbgPrint("TEST store FAIL not acquired\n");
        return;
    }
    if (!QUERY(XENBUS_ASYNC_STORE, 1, &async_store) || !NT_SUCCESS(XENBUS_ASYNC_STORE(Acquire, &async_store))) {
        DbgPrint("TEST async_store FAIL not acquired\n");
    } else {
        RUN(store_loses_nothing_to_a_silent_xenstored);
        XENBUS_ASYNC_STORE(Release, &async_store);
    }
    RUN(store_notices_nothing_of_a_live_update);
    RUN(store_goes_on_after_a_restart_under_load);
    XENBUS_STORE(Release, &store);
}
