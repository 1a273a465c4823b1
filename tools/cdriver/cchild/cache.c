// SPDX-License-Identifier: BSD-2-Clause
// CACHE versions 1 and 2.
#include "child.h"

#define OBJECTS 1000

typedef struct {
    ULONGLONG magic;
    ULONGLONG pad;
} OBJECT;

static XENBUS_CACHE_INTERFACE caches;
static KSPIN_LOCK lock;
static LONG constructed, destructed, bound;
static OBJECT *objects[OBJECTS];

static NTSTATUS NTAPI constructor(PVOID argument, PVOID object)
{
    OBJECT *made = object;
    CHECK(argument == &lock && KeGetCurrentIrql() == DISPATCH_LEVEL && lock != 0);
    CHECK(made->magic == 0 && made->pad == 0);
    if (constructed - destructed == bound)
        return STATUS_NO_MEMORY;
    made->magic = TAG;
    constructed++;
    return STATUS_SUCCESS;
}

static VOID NTAPI destructor(PVOID argument, PVOID object)
{
    OBJECT *made = object;
    CHECK(argument == &lock && KeGetCurrentIrql() == DISPATCH_LEVEL && lock != 0);
    CHECK(made->magic == TAG);
    made->magic = 0;
    destructed++;
}

static VOID NTAPI acquire_lock(PVOID argument)
{
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(argument);
}

static VOID NTAPI release_lock(PVOID argument)
{
    KeReleaseSpinLockFromDpcLevel(argument);
}

static PXENBUS_CACHE make_cache(ULONG reservation, ULONG cap)
{
    PXENBUS_CACHE cache = NULL;
    constructed = destructed = 0;
    bound = -1;
    CHECK_STATUS(XENBUS_CACHE(Create, &caches, (PSTR)"cchild", sizeof(OBJECT), reservation, cap, constructor, destructor,
                              acquire_lock, release_lock, &lock, &cache),
                 STATUS_SUCCESS);
    return cache;
}

static void cache_constructs_late_and_once(void)
{
    KIRQL irql;
    PXENBUS_CACHE cache = make_cache(32, 0);
    if (cache == NULL)
        return;
    CHECK(constructed == 0);
    for (ULONG round = 0; round < 3; round++) {
        for (ULONG i = 0; i < OBJECTS; i++) {
            BOOLEAN locked = i % 2 != 0;
            if (locked)
                KeAcquireSpinLock(&lock, &irql);
            objects[i] = XENBUS_CACHE(Get, &caches, cache, locked);
            if (locked)
                KeReleaseSpinLock(&lock, irql);
            CHECK(objects[i] != NULL && objects[i]->magic == TAG && ((ULONG_PTR)objects[i] & 7) == 0);
            if (objects[i] != NULL)
                objects[i]->pad = 0x123400000000ULL + i;
        }
        for (ULONG i = 0; i < OBJECTS; i++) {
            CHECK(objects[i] == NULL || objects[i]->pad == 0x123400000000ULL + i);
            if (objects[i] != NULL)
                XENBUS_CACHE(Put, &caches, cache, objects[i], FALSE);
        }
    }
    CHECK(constructed >= OBJECTS && constructed < OBJECTS + 100);
    XENBUS_CACHE(Destroy, &caches, cache);
    CHECK(constructed == destructed);
}

static void cache_has_a_cap_and_survives_a_failing_constructor(void)
{
    PXENBUS_CACHE cache = make_cache(0, 3);
    if (cache == NULL)
        return;
    bound = 2;
    for (ULONG i = 0; i < 2; i++)
        CHECK((objects[i] = XENBUS_CACHE(Get, &caches, cache, FALSE)) != NULL);
    CHECK(XENBUS_CACHE(Get, &caches, cache, FALSE) == NULL);
    bound = -1;
    CHECK((objects[2] = XENBUS_CACHE(Get, &caches, cache, FALSE)) != NULL);
    CHECK(XENBUS_CACHE(Get, &caches, cache, FALSE) == NULL);
    for (ULONG i = 0; i < 3; i++)
        XENBUS_CACHE(Put, &caches, cache, objects[i], FALSE);
    XENBUS_CACHE(Destroy, &caches, cache);
    CHECK(constructed == 3 && destructed == 3);
}

static void cache_refuses_a_reservation_above_the_cap(void)
{
    PXENBUS_CACHE cache = NULL;
    CHECK_STATUS(XENBUS_CACHE(Create, &caches, (PSTR)"cchild", 16, 4, 3, constructor, destructor, acquire_lock, release_lock, &lock, &cache),
                 STATUS_INVALID_PARAMETER);
}

// Empty slabs go back after a while.
static void cache_gives_memory_back(void)
{
    PXENBUS_CACHE cache = make_cache(0, 0);
    if (cache == NULL)
        return;
    for (ULONG i = 0; i < OBJECTS; i++)
        objects[i] = XENBUS_CACHE(Get, &caches, cache, FALSE);
    for (ULONG i = 0; i < OBJECTS; i++)
        if (objects[i] != NULL)
            XENBUS_CACHE(Put, &caches, cache, objects[i], FALSE);
    for (ULONG i = 0; i < 120 && *(volatile LONG *)&destructed == 0; i++)
        pause(100);
    CHECK(destructed > 0);
    XENBUS_CACHE(Destroy, &caches, cache);
    CHECK(constructed == destructed);
}

static void cache_of_version_1_has_no_cap(void)
{
    struct _XENBUS_CACHE_INTERFACE_V1 old;
    PXENBUS_CACHE cache = NULL;
    if (!QUERY(XENBUS_CACHE, 1, &old))
        return;
    CHECK_STATUS(XENBUS_CACHE(Acquire, &old), STATUS_SUCCESS);
    CHECK_STATUS(old.CacheCreateVersion1((PINTERFACE)&old, (PSTR)"old", sizeof(OBJECT), 1, constructor, destructor, acquire_lock,
                                         release_lock, &lock, &cache),
                 STATUS_SUCCESS);
    if (cache != NULL) {
        PVOID object = XENBUS_CACHE(Get, &old, cache, FALSE);
        CHECK(object != NULL);
        XENBUS_CACHE(Put, &old, cache, object, FALSE);
        XENBUS_CACHE(Destroy, &old, cache);
    }
    XENBUS_CACHE(Release, &old);
}

void cache_tests(void)
{
    KeInitializeSpinLock(&lock);
    if (!QUERY(XENBUS_CACHE, XENBUS_CACHE_INTERFACE_VERSION_MAX, &caches) || !NT_SUCCESS(XENBUS_CACHE(Acquire, &caches))) {
        DbgPrint("TEST cache FAIL not acquired\n");
        return;
    }
    RUN(cache_constructs_late_and_once);
    RUN(cache_has_a_cap_and_survives_a_failing_constructor);
    RUN(cache_refuses_a_reservation_above_the_cap);
    RUN(cache_gives_memory_back);
    RUN(cache_of_version_1_has_no_cap);
    XENBUS_CACHE(Release, &caches);
}
