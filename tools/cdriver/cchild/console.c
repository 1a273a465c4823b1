// SPDX-License-Identifier: BSD-2-Clause
// CONSOLE version 1 against dom0's xenconsoled.
#include "child.h"

#define LINES 100
#define LINE_LENGTH 47

static XENBUS_CONSOLE_INTERFACE console;
static KEVENT changed;
static PXENBUS_CONSOLE_WAKEUP wakeup;

// Waits until the other end did something; false after a minute.
static BOOLEAN wait_changed(void)
{
    LARGE_INTEGER limit;
    limit.QuadPart = MILLISECONDS(60000);
    return KeWaitForSingleObject(&changed, Executive, KernelMode, FALSE, &limit) == STATUS_SUCCESS;
}

static BOOLEAN write_all(const char *text, ULONG length)
{
    while (length > 0) {
        ULONG moved = XENBUS_CONSOLE(Write, &console, (PSTR)text, length);
        text += moved;
        length -= moved;
        if (moved == 0 && !wait_changed())
            return FALSE;
    }
    return TRUE;
}

// Reads exactly that many bytes.
static BOOLEAN read_all(char *text, ULONG length)
{
    while (length > 0) {
        ULONG moved = XENBUS_CONSOLE(Read, &console, text, length);
        text += moved;
        length -= moved;
        if (moved == 0 && !wait_changed())
            return FALSE;
    }
    return TRUE;
}

static void number(char *text, ULONG n)
{
    _snprintf(text, LINE_LENGTH + 2, "line-%05u-0123456789abcdefghijklmnopqrstuvwxyz\n", n);
}

static void console_lines_reach_dom0(void)
{
    char answer[64];
    KIRQL irql;
    CHECK(XENBUS_CONSOLE(CanWrite, &console));
    CHECK(XENBUS_CONSOLE(Write, &console, (PSTR)"x", 0) == 0);
    // As a debug callback would.
    KeRaiseIrql(HIGH_LEVEL, &irql);
    ULONG moved = XENBUS_CONSOLE(Write, &console, (PSTR)"\nfrom-the-guest\n", 16);
    KeLowerIrql(irql);
    CHECK(moved == 16);
    CHECK(ask(answer, sizeof answer, "console expect from-the-guest"));
}

static void console_more_than_the_ring_reaches_dom0_in_order(void)
{
    char answer[64], line[LINE_LENGTH + 2];
    for (ULONG n = 0; n < LINES; n++) {
        number(line, n);
        if (!write_all(line, (ULONG)strlen(line))) {
            CHECK(!"dom0 makes room");
            return;
        }
    }
    CHECK(ask(answer, sizeof answer, "console lines %u", LINES));
}

static void console_lines_of_dom0_arrive(void)
{
    char answer[64], text[32];
    CHECK(!XENBUS_CONSOLE(CanRead, &console));
    CHECK(XENBUS_CONSOLE(Read, &console, text, sizeof text) == 0);
    CHECK(ask(answer, sizeof answer, "console write from-dom0"));
    CHECK(read_all(text, 10));
    CHECK(RtlCompareMemory(text, "from-dom0\n", 10) == 10);
    CHECK(!XENBUS_CONSOLE(CanRead, &console));
}

static void console_more_than_the_ring_arrives_in_order(void)
{
    char answer[64], line[LINE_LENGTH + 2], wanted[LINE_LENGTH + 2];
    if (!ask(answer, sizeof answer, "console fill %u", LINES / 2)) {
        CHECK(!"dom0 writes");
        return;
    }
    for (ULONG n = 0; n < LINES / 2; n++) {
        number(wanted, n);
        ULONG length = (ULONG)strlen(wanted);
        if (!read_all(line, length) || RtlCompareMemory(line, wanted, length) != length) {
            CHECK(!"every line, in order");
            return;
        }
    }
}

// A second event is set too, and none after its removal.
static void console_wakeups_are_all_told_until_removed(void)
{
    char answer[64], text[16];
    KEVENT other;
    PXENBUS_CONSOLE_WAKEUP second = NULL;
    LARGE_INTEGER limit;
    limit.QuadPart = MILLISECONDS(60000);
    KeInitializeEvent(&other, NotificationEvent, FALSE);
    CHECK_STATUS(XENBUS_CONSOLE(WakeupAdd, &console, &other, &second), STATUS_SUCCESS);
    if (second == NULL)
        return;
    CHECK(ask(answer, sizeof answer, "console write one"));
    CHECK_STATUS(KeWaitForSingleObject(&other, Executive, KernelMode, FALSE, &limit), STATUS_SUCCESS);
    CHECK(read_all(text, 4));
    XENBUS_CONSOLE(WakeupRemove, &console, second);
    KeClearEvent(&other);
    CHECK(ask(answer, sizeof answer, "console write two"));
    CHECK(read_all(text, 4) && RtlCompareMemory(text, "two\n", 4) == 4);
    CHECK(KeReadStateEvent(&other) == 0);
}

void console_tests(void)
{
    KeInitializeEvent(&changed, SynchronizationEvent, FALSE);
    if (!QUERY(XENBUS_CONSOLE, XENBUS_CONSOLE_INTERFACE_VERSION_MAX, &console) || !NT_SUCCESS(XENBUS_CONSOLE(Acquire, &console))) {
        DbgPrint("TEST console FAIL not acquired\n");
        return;
    }
    if (NT_SUCCESS(XENBUS_CONSOLE(WakeupAdd, &console, &changed, &wakeup))) {
        RUN(console_lines_reach_dom0);
        RUN(console_more_than_the_ring_reaches_dom0_in_order);
        RUN(console_lines_of_dom0_arrive);
        RUN(console_more_than_the_ring_arrives_in_order);
        RUN(console_wakeups_are_all_told_until_removed);
        XENBUS_CONSOLE(WakeupRemove, &console, wakeup);
    } else {
        DbgPrint("TEST console FAIL no wakeup\n");
    }
    XENBUS_CONSOLE(Release, &console);
}
