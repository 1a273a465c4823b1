// SPDX-License-Identifier: BSD-2-Clause
// GNTTAB versions 2 to 4: pages to dom0 and from it.
#include "child.h"

#define MOST 40000

static XENBUS_GNTTAB_INTERFACE gnttab;
static KSPIN_LOCK lock;

static VOID NTAPI acquire_lock(PVOID argument)
{
    CHECK(argument == &lock);
    KeAcquireSpinLockAtDpcLevel(&lock);
}

static VOID NTAPI release_lock(PVOID argument)
{
    KeReleaseSpinLockFromDpcLevel(argument);
}

static PXENBUS_GNTTAB_CACHE make_cache(ULONG reservation, ULONG cap)
{
    PXENBUS_GNTTAB_CACHE cache = NULL;
    CHECK_STATUS(XENBUS_GNTTAB(CreateCache, &gnttab, (PSTR)"cchild", reservation, cap, acquire_lock, release_lock, &lock, &cache),
                 STATUS_SUCCESS);
    return cache;
}

static PFN_NUMBER frame_of(PVOID page)
{
    return (PFN_NUMBER)(MmGetPhysicalAddress(page).QuadPart >> PAGE_SHIFT);
}

static void gnttab_permits_to_dom0_and_revokes_when_it_is_done(void)
{
    char answer[64];
    PXENBUS_GNTTAB_ENTRY entry;
    PFN_NUMBER frame;
    BOOLEAN read_only = TRUE;
    PUCHAR page = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, TAG);
    PXENBUS_GNTTAB_CACHE cache = make_cache(0, 0);
    if (page == NULL || cache == NULL) {
        CHECK(!"memory");
        return;
    }
    memset(page, 0, PAGE_SIZE);
    memcpy(page, "to dom0!", 8);
    CHECK_STATUS(XENBUS_GNTTAB(PermitForeignAccess, &gnttab, cache, FALSE, 0, frame_of(page), FALSE, &entry), STATUS_SUCCESS);
    ULONG reference = XENBUS_GNTTAB(GetReference, &gnttab, entry);
    CHECK(reference >= 32);
    CHECK_STATUS(XENBUS_GNTTAB(QueryReference, &gnttab, reference, &frame, &read_only), STATUS_SUCCESS);
    CHECK(frame == frame_of(page) && !read_only);
    // "by dom0!"
    CHECK(ask(answer, sizeof answer, "gnttab hold %u 627920646f6d3021", reference));
    CHECK(strcmp(answer, "746f20646f6d3021") == 0);
    CHECK(RtlCompareMemory(page + 8, "by dom0!", 8) == 8);
    CHECK_STATUS(XENBUS_GNTTAB(RevokeForeignAccess, &gnttab, cache, FALSE, entry), STATUS_UNSUCCESSFUL);
    CHECK(XENBUS_GNTTAB(GetReference, &gnttab, entry) == reference);
    CHECK(ask(answer, sizeof answer, "gnttab drop"));
    CHECK_STATUS(XENBUS_GNTTAB(RevokeForeignAccess, &gnttab, cache, FALSE, entry), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_GNTTAB(RevokeForeignAccess, &gnttab, cache, FALSE, entry), STATUS_INVALID_PARAMETER);
    CHECK(!ask(answer, sizeof answer, "gnttab hold %u 00", reference));
    XENBUS_GNTTAB(DestroyCache, &gnttab, cache);
    ExFreePoolWithTag(page, TAG);
}

static void gnttab_maps_a_page_of_dom0(void)
{
    char answer[64];
    PHYSICAL_ADDRESS address, nothing;
    ULONG references[2];
    // "of dom0!"
    if (!ask(answer, sizeof answer, "gnttab share 6f6620646f6d3021")) {
        CHECK(!"dom0 grants a page");
        return;
    }
    references[0] = (ULONG)_strtoui64(answer, NULL, 10);
    references[1] = 0xFFFFFF;
    // All or nothing.
    CHECK(!NT_SUCCESS(XENBUS_GNTTAB(MapForeignPages, &gnttab, 0, 2, references, FALSE, &address)));
    CHECK(address.QuadPart == 0);
    NTSTATUS status = XENBUS_GNTTAB(MapForeignPages, &gnttab, 0, 1, references, FALSE, &address);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status)) {
        PUCHAR page = MmMapIoSpace(address, PAGE_SIZE, MmCached);
        CHECK(page != NULL);
        if (page != NULL) {
            CHECK(RtlCompareMemory(page, "of dom0!", 8) == 8);
            memcpy(page + 8, "by guest", 8);
            MmUnmapIoSpace(page, PAGE_SIZE);
        }
        CHECK(ask(answer, sizeof answer, "gnttab shared"));
        CHECK(strcmp(answer, "6279206775657374") == 0);
        nothing.QuadPart = address.QuadPart + PAGE_SIZE;
        CHECK_STATUS(XENBUS_GNTTAB(UnmapForeignPages, &gnttab, nothing), STATUS_OBJECT_NAME_NOT_FOUND);
        CHECK_STATUS(XENBUS_GNTTAB(UnmapForeignPages, &gnttab, address), STATUS_SUCCESS);
        CHECK_STATUS(XENBUS_GNTTAB(UnmapForeignPages, &gnttab, address), STATUS_OBJECT_NAME_NOT_FOUND);
    }
    CHECK(ask(answer, sizeof answer, "gnttab unshare"));
}

// At DISPATCH_LEVEL, where the table has to grow as well.
static void gnttab_fills_the_table_and_empties_it(void)
{
    KIRQL irql;
    PXENBUS_GNTTAB_ENTRY *entries = ExAllocatePoolWithTag(NonPagedPoolNx, MOST * sizeof *entries, TAG);
    PXENBUS_GNTTAB_CACHE cache = make_cache(0, 0);
    ULONG counts[2];
    if (entries == NULL || cache == NULL) {
        CHECK(!"memory");
        return;
    }
    for (ULONG round = 0; round < 2; round++) {
        ULONG count = 0, refused = 0;
        NTSTATUS status = STATUS_SUCCESS;
        while (count < MOST && NT_SUCCESS(status)) {
            KeRaiseIrql(DISPATCH_LEVEL, &irql);
            for (ULONG i = 0; i < 512 && count < MOST && NT_SUCCESS(status); i++) {
                status = XENBUS_GNTTAB(PermitForeignAccess, &gnttab, cache, TRUE, 0, 1, TRUE, &entries[count]);
                if (NT_SUCCESS(status))
                    count++;
            }
            KeLowerIrql(irql);
        }
        CHECK_STATUS(status, STATUS_INSUFFICIENT_RESOURCES);
        counts[round] = count;
        for (ULONG i = 0; i < count; i++)
            if (!NT_SUCCESS(XENBUS_GNTTAB(RevokeForeignAccess, &gnttab, cache, FALSE, entries[i])))
                refused++;
        CHECK(refused == 0);
    }
    DbgPrint("gnttab: filled with %u grants\n", counts[0]);
    CHECK(counts[0] >= 512 && counts[0] == counts[1]);
    XENBUS_GNTTAB(DestroyCache, &gnttab, cache);
    ExFreePoolWithTag(entries, TAG);
}

static void gnttab_caches_have_caps_and_reservations(void)
{
    PXENBUS_GNTTAB_ENTRY entries[3];
    PXENBUS_GNTTAB_CACHE cache = NULL;
    CHECK_STATUS(XENBUS_GNTTAB(CreateCache, &gnttab, (PSTR)"cchild", 3, 2, acquire_lock, release_lock, &lock, &cache),
                 STATUS_INVALID_PARAMETER);
    CHECK_STATUS(XENBUS_GNTTAB(CreateCache, &gnttab, (PSTR)"cchild", 1000000000, 0, acquire_lock, release_lock, &lock, &cache),
                 STATUS_INSUFFICIENT_RESOURCES);
    cache = make_cache(2, 2);
    if (cache == NULL)
        return;
    for (ULONG i = 0; i < 2; i++)
        CHECK_STATUS(XENBUS_GNTTAB(PermitForeignAccess, &gnttab, cache, FALSE, 0, 1, TRUE, &entries[i]), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_GNTTAB(PermitForeignAccess, &gnttab, cache, FALSE, 0, 1, TRUE, &entries[2]), STATUS_INSUFFICIENT_RESOURCES);
    CHECK_STATUS(XENBUS_GNTTAB(RevokeForeignAccess, &gnttab, cache, FALSE, entries[0]), STATUS_SUCCESS);
    // What is left is no reason to crash.
    XENBUS_GNTTAB(DestroyCache, &gnttab, cache);
}

static void gnttab_names_are_bounded(void)
{
    char name[130];
    PXENBUS_GNTTAB_CACHE cache = NULL;
    memset(name, 'a', sizeof name);
    name[121] = 0;
    CHECK_STATUS(XENBUS_GNTTAB(CreateCache, &gnttab, name, 0, 0, acquire_lock, release_lock, &lock, &cache), STATUS_BUFFER_OVERFLOW);
    name[120] = 0;
    CHECK_STATUS(XENBUS_GNTTAB(CreateCache, &gnttab, name, 0, 0, acquire_lock, release_lock, &lock, &cache), STATUS_SUCCESS);
    XENBUS_GNTTAB(DestroyCache, &gnttab, cache);
}

static void gnttab_queries_what_is_mapped_and_no_more(void)
{
    PFN_NUMBER frame = 0;
    CHECK_STATUS(XENBUS_GNTTAB(QueryReference, &gnttab, XENBUS_GNTTAB_STORE_REFERENCE, &frame, NULL), STATUS_SUCCESS);
    CHECK(frame != 0);
    CHECK_STATUS(XENBUS_GNTTAB(QueryReference, &gnttab, 0xFFFFFFFF, &frame, NULL), STATUS_INVALID_PARAMETER);
}

#define OLD(version)                                                                                                        \
    do {                                                                                                                    \
        struct _XENBUS_GNTTAB_INTERFACE_V##version old;                                                                     \
        PXENBUS_GNTTAB_CACHE cache = NULL;                                                                                  \
        PXENBUS_GNTTAB_ENTRY entry;                                                                                         \
        if (!QUERY(XENBUS_GNTTAB, version, &old))                                                                           \
            break;                                                                                                          \
        CHECK_STATUS(XENBUS_GNTTAB(Acquire, &old), STATUS_SUCCESS);                                                         \
        CHECK_STATUS(old.GnttabCreateCacheVersion1((PINTERFACE)&old, (PSTR)"old", 1, acquire_lock, release_lock, &lock, &cache), \
                     STATUS_SUCCESS);                                                                                       \
        if (cache != NULL) {                                                                                                \
            CHECK_STATUS(XENBUS_GNTTAB(PermitForeignAccess, &old, cache, FALSE, 0, 1, TRUE, &entry), STATUS_SUCCESS);       \
            CHECK_STATUS(XENBUS_GNTTAB(RevokeForeignAccess, &old, cache, FALSE, entry), STATUS_SUCCESS);                    \
            XENBUS_GNTTAB(DestroyCache, &old, cache);                                                                       \
        }                                                                                                                   \
        XENBUS_GNTTAB(Release, &old);                                                                                       \
    } while (0)

static void gnttab_of_every_version_grants(void)
{
    OLD(2);
    OLD(3);
}

void gnttab_tests(void)
{
    KeInitializeSpinLock(&lock);
    if (!QUERY(XENBUS_GNTTAB, XENBUS_GNTTAB_INTERFACE_VERSION_MAX, &gnttab) || !NT_SUCCESS(XENBUS_GNTTAB(Acquire, &gnttab))) {
        DbgPrint("TEST gnttab FAIL not acquired\n");
        return;
    }
    RUN(gnttab_permits_to_dom0_and_revokes_when_it_is_done);
    RUN(gnttab_maps_a_page_of_dom0);
    RUN(gnttab_caches_have_caps_and_reservations);
    RUN(gnttab_fills_the_table_and_empties_it);
    RUN(gnttab_names_are_bounded);
    RUN(gnttab_queries_what_is_mapped_and_no_more);
    RUN(gnttab_of_every_version_grants);
    XENBUS_GNTTAB(Release, &gnttab);
}
