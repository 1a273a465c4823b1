// SPDX-License-Identifier: BSD-2-Clause
// RANGE_SET version 1, as the network driver uses it.
#include "child.h"

static XENBUS_RANGE_SET_INTERFACE ranges;

static void range_set_pops_what_was_put(void)
{
    PXENBUS_RANGE_SET set = NULL;
    LONGLONG start;
    KIRQL irql;
    CHECK_STATUS(XENBUS_RANGE_SET(Create, &ranges, (PSTR)"cchild", &set), STATUS_SUCCESS);
    if (set == NULL)
        return;
    CHECK_STATUS(XENBUS_RANGE_SET(Put, &ranges, set, 1, 1023), STATUS_SUCCESS);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    for (LONGLONG i = 1; i <= 1023; i++) {
        CHECK_STATUS(XENBUS_RANGE_SET(Pop, &ranges, set, 1, &start), STATUS_SUCCESS);
        CHECK(start == i);
    }
    CHECK_STATUS(XENBUS_RANGE_SET(Pop, &ranges, set, 1, &start), STATUS_INSUFFICIENT_RESOURCES);
    // Every second one first, so that all are ranges of their own, then the others.
    for (LONGLONG i = 1; i <= 1023; i += 2)
        CHECK_STATUS(XENBUS_RANGE_SET(Put, &ranges, set, i, 1), STATUS_SUCCESS);
    for (LONGLONG i = 2; i <= 1023; i += 2)
        CHECK_STATUS(XENBUS_RANGE_SET(Put, &ranges, set, i, 1), STATUS_SUCCESS);
    KeLowerIrql(irql);
    CHECK_STATUS(XENBUS_RANGE_SET(Get, &ranges, set, 1, 1023), STATUS_SUCCESS);
    XENBUS_RANGE_SET(Destroy, &ranges, set);
}

static void range_set_refuses_nonsense(void)
{
    char name[129];
    PXENBUS_RANGE_SET set = NULL;
    LONGLONG start;
    memset(name, 'a', sizeof name);
    name[128] = 0;
    CHECK_STATUS(XENBUS_RANGE_SET(Create, &ranges, name, &set), STATUS_BUFFER_OVERFLOW);
    name[127] = 0;
    CHECK_STATUS(XENBUS_RANGE_SET(Create, &ranges, name, &set), STATUS_SUCCESS);
    if (set == NULL)
        return;
    CHECK_STATUS(XENBUS_RANGE_SET(Put, &ranges, set, 0, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(XENBUS_RANGE_SET(Get, &ranges, set, 0, 0), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(XENBUS_RANGE_SET(Pop, &ranges, set, 0, &start), STATUS_INVALID_PARAMETER);
    CHECK_STATUS(XENBUS_RANGE_SET(Put, &ranges, set, 10, 10), STATUS_SUCCESS);
    CHECK(!NT_SUCCESS(XENBUS_RANGE_SET(Put, &ranges, set, 19, 1)));
    CHECK(!NT_SUCCESS(XENBUS_RANGE_SET(Get, &ranges, set, 19, 2)));
    CHECK_STATUS(XENBUS_RANGE_SET(Get, &ranges, set, 12, 2), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_RANGE_SET(Pop, &ranges, set, 3, &start), STATUS_SUCCESS);
    CHECK(start == 14);
    CHECK_STATUS(XENBUS_RANGE_SET(Get, &ranges, set, 10, 2), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_RANGE_SET(Get, &ranges, set, 17, 3), STATUS_SUCCESS);
    XENBUS_RANGE_SET(Destroy, &ranges, set);
}

void range_set_tests(void)
{
    if (!QUERY(XENBUS_RANGE_SET, 1, &ranges) || !NT_SUCCESS(XENBUS_RANGE_SET(Acquire, &ranges))) {
        DbgPrint("TEST range_set FAIL not acquired\n");
        return;
    }
    RUN(range_set_pops_what_was_put);
    RUN(range_set_refuses_nonsense);
    XENBUS_RANGE_SET(Release, &ranges);
}
