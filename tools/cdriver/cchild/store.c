// SPDX-License-Identifier: BSD-2-Clause
// STORE version 2.
#include "child.h"

static XENBUS_STORE_INTERFACE store;
static const PSTR base = (PSTR)"data/cchild/store";

static void store_reads_what_it_wrote(void)
{
    PSTR text;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "%s=%u", "value", 7), STATUS_SUCCESS);
    NTSTATUS status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"key", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "value=7") == 0 && text[8] == 0);
        XENBUS_STORE(Free, &store, text);
    }
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Read, &store, NULL, base, (PSTR)"key", &text), STATUS_OBJECT_NAME_NOT_FOUND);
}

static void store_works_at_dispatch_level(void)
{
    PSTR text;
    KIRQL irql;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"raised", "%04x", 0xabc), STATUS_SUCCESS);
    NTSTATUS status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"raised", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "0abc") == 0);
        XENBUS_STORE(Free, &store, text);
    }
    XENBUS_STORE(Poll, &store);
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
    KeLowerIrql(irql);
}

static void store_signals_a_watch_when_dom0_writes(void)
{
    KEVENT event;
    PXENBUS_STORE_WATCH watch;
    LARGE_INTEGER limit;
    char answer[64];
    limit.QuadPart = MILLISECONDS(60000);
    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    NTSTATUS status = XENBUS_STORE(WatchAdd, &store, (PSTR)"data/cchild", (PSTR)"poke", &event, &watch);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (!NT_SUCCESS(status))
        return;
    // Once for the registration, once for the write.
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    CHECK(ask(answer, sizeof answer, "store write data/cchild/poke 7"));
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(WatchRemove, &store, watch), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, (PSTR)"data/cchild", (PSTR)"poke"), STATUS_SUCCESS);
}

void store_tests(void)
{
    if (!QUERY(XENBUS_STORE, XENBUS_STORE_INTERFACE_VERSION_MAX, &store) || !NT_SUCCESS(XENBUS_STORE(Acquire, &store))) {
        DbgPrint("TEST store FAIL not acquired\n");
        return;
    }
    RUN(store_reads_what_it_wrote);
    RUN(store_works_at_dispatch_level);
    RUN(store_signals_a_watch_when_dom0_writes);
    XENBUS_STORE(Release, &store);
}
