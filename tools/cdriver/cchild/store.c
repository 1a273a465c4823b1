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

static void store_formats_as_deployed_children_do(void)
{
    PSTR text;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"mac", "%02x:%02x:%02x:%02x:%02x:%02x", 0, 0x16, 0x3e, 0xa, 0xbc, 0xff),
                 STATUS_SUCCESS);
    NTSTATUS status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"mac", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "00:16:3e:0a:bc:ff") == 0);
        XENBUS_STORE(Free, &store, text);
    }
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"all", "%u %d %s %lu %llu %04x %c%% %p %-4d|", 1u, -2, "three", 4ul,
                              0x100000005ull, 0x6, '7', (PVOID)0x8, 9),
                 STATUS_SUCCESS);
    status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"all", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "1 -2 three 4 4294967301 0006 7% 0000000000000008 9   |") == 0);
        XENBUS_STORE(Free, &store, text);
    }
    // Nothing at all is a value too; 1023 characters are the most.
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"empty", "%s", ""), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"long", "%1023d", 1), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"long", "%1024d", 1), STATUS_INVALID_BUFFER_SIZE);
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
}

static void store_lists_directories_of_any_length(void)
{
    PSTR names;
    char answer[64];
    ULONG count = 0;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "%s", ""), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_STORE(Directory, &store, NULL, base, (PSTR)"key", &names), STATUS_OBJECT_PATH_NOT_FOUND);
    CHECK_STATUS(XENBUS_STORE(Directory, &store, NULL, base, (PSTR)"none", &names), STATUS_OBJECT_NAME_NOT_FOUND);
    // Longer than one payload of the store: only dom0 may make such a node.
    CHECK(ask(answer, sizeof answer, "store fill data/cchild/many 700"));
    NTSTATUS status = XENBUS_STORE(Directory, &store, NULL, (PSTR)"data/cchild", (PSTR)"many", &names);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        for (PSTR name = names; *name != 0; name += strlen(name) + 1)
            count += strncmp(name, "child-", 6) == 0;
        CHECK(count == 700);
        XENBUS_STORE(Free, &store, names);
    }
    CHECK(ask(answer, sizeof answer, "store rm data/cchild/many"));
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
}

static void store_transactions_commit_abort_and_conflict(void)
{
    PXENBUS_STORE_TRANSACTION transaction;
    PSTR text;
    char answer[64];
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "old"), STATUS_SUCCESS);
    for (int round = 0; round < 3; round++) {
        // Abort, conflict, commit.
        static const NTSTATUS wanted[] = {STATUS_SUCCESS, STATUS_RETRY, STATUS_SUCCESS};
        static const char *const after[] = {"old", "dom0", "new"};
        NTSTATUS status = XENBUS_STORE(TransactionStart, &store, &transaction);
        CHECK_STATUS(status, STATUS_SUCCESS);
        if (!NT_SUCCESS(status))
            return;
        status = XENBUS_STORE(Read, &store, transaction, base, (PSTR)"key", &text);
        CHECK_STATUS(status, STATUS_SUCCESS);
        if (NT_SUCCESS(status))
            XENBUS_STORE(Free, &store, text);
        CHECK_STATUS(XENBUS_STORE(Printf, &store, transaction, base, (PSTR)"key", "new"), STATUS_SUCCESS);
        if (round == 1)
            CHECK(ask(answer, sizeof answer, "store write data/cchild/store/key dom0"));
        CHECK_STATUS(XENBUS_STORE(TransactionEnd, &store, transaction, round != 0), wanted[round]);
        status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"key", &text);
        CHECK_STATUS(status, STATUS_SUCCESS);
        if (NT_SUCCESS(status)) {
            CHECK(strcmp(text, after[round]) == 0);
            XENBUS_STORE(Free, &store, text);
        }
    }
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
}

static void store_sets_permissions(void)
{
    XENBUS_STORE_PERMISSION permissions[2];
    char answer[64];
    unsigned owner = 0;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"key", "x"), STATUS_SUCCESS);
    // Whose node it is, dom0 says: n, and a number.
    CHECK(ask(answer, sizeof answer, "store owner data/cchild/store/key"));
    for (const char *digit = answer + 1; *digit >= '0' && *digit <= '9'; digit++)
        owner = owner * 10 + (unsigned)(*digit - '0');
    permissions[0].Domain = (USHORT)owner;
    permissions[0].Mask = XENBUS_STORE_PERM_READ;
    permissions[1].Domain = 0;
    permissions[1].Mask = XENBUS_STORE_PERM_READ | XENBUS_STORE_PERM_WRITE;
    CHECK_STATUS(XENBUS_STORE(PermissionsSet, &store, NULL, base, (PSTR)"key", permissions, 2), STATUS_SUCCESS);
    CHECK(ask(answer, sizeof answer, "store owner data/cchild/store/key") && answer[0] == 'r');
    permissions[1].Mask = 4;
    CHECK_STATUS(XENBUS_STORE(PermissionsSet, &store, NULL, base, (PSTR)"key", permissions, 2), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
}

// More than xenstored's default quota.
#define WATCHES 140

static void store_says_when_there_are_too_many_watches(void)
{
    static PXENBUS_STORE_WATCH watches[WATCHES];
    static KEVENT event;
    ULONG added = 0;
    NTSTATUS refused = STATUS_SUCCESS;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    while (added < WATCHES && NT_SUCCESS(refused)) {
        refused = XENBUS_STORE(WatchAdd, &store, NULL, base, &event, &watches[added]);
        if (NT_SUCCESS(refused))
            added++;
    }
    CHECK(added >= 64 && added < WATCHES);
    CHECK_STATUS(refused, STATUS_INVALID_BUFFER_SIZE);
    while (added > 0)
        CHECK_STATUS(XENBUS_STORE(WatchRemove, &store, watches[--added]), STATUS_SUCCESS);
}

// Each on a node of its own; xenstored's default quota is 128.
#define MANY 1000
#define QUOTA 128

struct many {
    KEVENT event;
    PXENBUS_STORE_WATCH watch;
};

// How many were signalled, each within a minute.
static ULONG signalled(struct many *many, ULONG count)
{
    LARGE_INTEGER limit;
    ULONG fired = 0;
    limit.QuadPart = MILLISECONDS(60000);
    while (fired < count
           && KeWaitForSingleObject(&many[fired].event, Executive, KernelMode, FALSE, &limit) == STATUS_SUCCESS)
        fired++;
    return fired;
}

static void store_keeps_a_thousand_watches(void)
{
    char answer[64], path[32];
    ULONG added = 0, left = 0;
    struct many *many = ExAllocatePoolWithTag(NonPagedPoolNx, MANY * sizeof *many, TAG);
    CHECK(many != NULL);
    if (many == NULL)
        return;
    CHECK(ask(answer, sizeof answer, "store quota watches %u", MANY + QUOTA));
    for (NTSTATUS status = STATUS_SUCCESS; added < MANY && NT_SUCCESS(status); added += NT_SUCCESS(status)) {
        KeInitializeEvent(&many[added].event, SynchronizationEvent, FALSE);
        _snprintf(path, sizeof path, "many/child-%04u", added);
        status = XENBUS_STORE(WatchAdd, &store, (PSTR)"data/cchild", path, &many[added].event, &many[added].watch);
        CHECK_STATUS(status, STATUS_SUCCESS);
    }
    CHECK(added == MANY);
    // Each for its registration, and each for the node that dom0 makes.
    CHECK(signalled(many, added) == MANY);
    CHECK(ask(answer, sizeof answer, "store fill data/cchild/many %u", MANY));
    CHECK(signalled(many, added) == MANY);
    for (ULONG i = 0; i < added; i++)
        CHECK_STATUS(XENBUS_STORE(WatchRemove, &store, many[i].watch), STATUS_SUCCESS);
    // Removed means silent.
    CHECK(ask(answer, sizeof answer, "store rm data/cchild/many"));
    for (ULONG i = 0; i < added; i++)
        left += KeReadStateEvent(&many[i].event) != 0;
    CHECK(left == 0);
    CHECK(ask(answer, sizeof answer, "store quota watches %u", QUOTA));
    ExFreePoolWithTag(many, TAG);
}

static void store_counts_with_dom0_and_loses_nothing(void)
{
    char answer[64];
    PSTR text;
    ULONG done = 0, conflicts = 0;
    CHECK_STATUS(XENBUS_STORE(Printf, &store, NULL, base, (PSTR)"count", "%u", 0), STATUS_SUCCESS);
    // dom0 counts at the same time, and answers when it is done.
    CHECK(ask(answer, sizeof answer, "store count data/cchild/store/count 50"));
    while (done < 50 && conflicts < 100000) {
        PXENBUS_STORE_TRANSACTION transaction;
        NTSTATUS status = XENBUS_STORE(TransactionStart, &store, &transaction);
        if (!NT_SUCCESS(status)) {
            CHECK_STATUS(status, STATUS_SUCCESS);
            return;
        }
        ULONG value = 0;
        status = XENBUS_STORE(Read, &store, transaction, base, (PSTR)"count", &text);
        if (NT_SUCCESS(status)) {
            for (PSTR digit = text; *digit != 0; digit++)
                value = value * 10 + (ULONG)(*digit - '0');
            XENBUS_STORE(Free, &store, text);
            status = XENBUS_STORE(Printf, &store, transaction, base, (PSTR)"count", "%u", value + 1);
        }
        CHECK_STATUS(status, STATUS_SUCCESS);
        status = XENBUS_STORE(TransactionEnd, &store, transaction, NT_SUCCESS(status));
        if (status == STATUS_RETRY)
            conflicts++;
        else if (NT_SUCCESS(status))
            done++;
        else
            break;
    }
    CHECK(done == 50);
    CHECK(ask(answer, sizeof answer, "store join"));
    NTSTATUS status = XENBUS_STORE(Read, &store, NULL, base, (PSTR)"count", &text);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        CHECK(strcmp(text, "100") == 0);
        XENBUS_STORE(Free, &store, text);
    }
    CHECK_STATUS(XENBUS_STORE(Remove, &store, NULL, NULL, base), STATUS_SUCCESS);
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
    RUN(store_formats_as_deployed_children_do);
    RUN(store_lists_directories_of_any_length);
    RUN(store_transactions_commit_abort_and_conflict);
    RUN(store_sets_permissions);
    RUN(store_says_when_there_are_too_many_watches);
    if (parameter("Watches", 0) != 0)
        RUN(store_keeps_a_thousand_watches);
    RUN(store_counts_with_dom0_and_loses_nothing);
    XENBUS_STORE(Release, &store);
}
