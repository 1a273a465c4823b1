// SPDX-License-Identifier: BSD-2-Clause
// SHARED_INFO versions 2 to 4.
#include "evtchn.h"

// 1601 to 1970, in seconds.
#define EPOCH 11644473600LL
#define SECOND 10000000LL

static XENBUS_SHARED_INFO_INTERFACE info;

static LONGLONG now(void)
{
    LARGE_INTEGER time;
    BOOLEAN local = 99;
    XENBUS_SHARED_INFO(GetTime, &info, &time, &local);
    CHECK(local == TRUE || local == FALSE);
    return time.QuadPart;
}

static void shared_info_has_dom0s_time_and_it_goes_on(void)
{
    char answer[64];
    LONGLONG before = now();
    CHECK(ask(answer, sizeof answer, "clock now"));
    LONGLONG after = now();
    LONGLONG theirs = EPOCH * SECOND + (LONGLONG)_strtoui64(answer, NULL, 10) * 10;
    CHECK(before < after);
    CHECK(before - 2 * SECOND < theirs && theirs < after + 2 * SECOND);
    // On whichever processor: each has a record of its own.
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    for (ULONG i = 0; i < 4 * count; i++) {
        GROUP_AFFINITY affinity;
        KIRQL irql;
        move_to(i % count, &affinity);
        KeRaiseIrql(i % 2 == 0 ? DISPATCH_LEVEL : PASSIVE_LEVEL, &irql);
        LONGLONG first = now();
        LONGLONG second = now();
        KeLowerIrql(irql);
        move_back(&affinity);
        CHECK(first <= second && after - SECOND < first && second < after + 60 * SECOND);
    }
}

static void shared_info_of_every_version_tells_the_time(void)
{
    struct _XENBUS_SHARED_INFO_INTERFACE_V2 second;
    struct _XENBUS_SHARED_INFO_INTERFACE_V3 third;
    if (!QUERY(XENBUS_SHARED_INFO, 2, &second) || !QUERY(XENBUS_SHARED_INFO, 3, &third))
        return;
    CHECK_STATUS(XENBUS_SHARED_INFO(Acquire, &second), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_SHARED_INFO(Acquire, &third), STATUS_SUCCESS);
    LARGE_INTEGER time;
    LONGLONG before = now();
    LARGE_INTEGER old = XENBUS_SHARED_INFO(GetTimeVersion2, &second);
    // NULL is allowed.
    XENBUS_SHARED_INFO(GetTime, &third, &time, NULL);
    LONGLONG after = now();
    CHECK(before <= old.QuadPart && old.QuadPart <= time.QuadPart && time.QuadPart <= after);
    CHECK(!XENBUS_SHARED_INFO(UpcallPending, &second, 1000) && !XENBUS_SHARED_INFO(UpcallPending, &third, 1000));
    XENBUS_SHARED_INFO(Release, &third);
    XENBUS_SHARED_INFO(Release, &second);
}

static void shared_info_supports_upcalls_of_processors_that_are_there(void)
{
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    for (ULONG i = 0; i < count; i++)
        CHECK(XENBUS_SHARED_INFO(UpcallSupported, &info, i));
    CHECK(!XENBUS_SHARED_INFO(UpcallSupported, &info, 1000));
    CHECK(!XENBUS_SHARED_INFO(UpcallPending, &info, 1000));
}

// What a poll has visited.
typedef struct {
    ULONG wanted;
    ULONG visits;
    ULONG others;
} VISITS;

static BOOLEAN visit(PVOID argument, ULONG port)
{
    VISITS *visits = argument;
    if (port != visits->wanted) {
        visits->others++;
        return FALSE;
    }
    visits->visits++;
    return TRUE;
}

// Whoever takes the mark of an upcall has to look for the events himself: the interrupt finds nothing to do. With a local event the
// bus looks again.
static void shared_info_takes_an_upcall(void)
{
    LOOP loop, other;
    GROUP_AFFINITY before;
    KIRQL irql;
    BOOLEAN fifo = parameter("TwoLevel", 0) == 0;
    if (!loop_open(&loop, FALSE))
        return;
    if (!loop_open(&other, FALSE)) {
        loop_close(&loop);
        return;
    }
    VISITS visits = {.wanted = XENBUS_EVTCHN(GetPort, &evtchn, loop.in)};
    XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE);
    move_to(0, &before);
    KeRaiseIrql(HIGH_LEVEL, &irql);
    // No interrupt comes here, so the mark is there for us.
    XENBUS_EVTCHN(Send, &evtchn, loop.out);
    BOOLEAN first = XENBUS_SHARED_INFO(UpcallPending, &info, 0);
    BOOLEAN second = XENBUS_SHARED_INFO(UpcallPending, &info, 0);
    LONG early = loop.ear.events;
    if (!fifo) {
        // The words of the 2-level ABI are in use. A poll takes the selectors and leaves the events.
        CHECK(XENBUS_SHARED_INFO(EvtchnPoll, &info, 0, visit, &visits));
        CHECK(visits.visits == 1 && visits.others == 0);
        CHECK(!XENBUS_SHARED_INFO(EvtchnPoll, &info, 0, visit, &visits));
        XENBUS_SHARED_INFO(EvtchnMask, &info, visits.wanted);
        CHECK(XENBUS_SHARED_INFO(EvtchnUnmask, &info, visits.wanted));
        XENBUS_SHARED_INFO(EvtchnAck, &info, visits.wanted);
        CHECK(!XENBUS_SHARED_INFO(EvtchnUnmask, &info, visits.wanted));
    }
    KeLowerIrql(irql);
    CHECK(first && !second && early == 0);
    pause(2);
    CHECK(loop.ear.events == 0);
    // That of another channel, on the same processor.
    XENBUS_EVTCHN(Trigger, &evtchn, other.in);
    CHECK(wait_for(&other.ear.events, 1));
    // With FIFO it is still in its queue; with 2-level it was acknowledged.
    if (fifo)
        CHECK(wait_for(&loop.ear.events, 1));
    LONG events = loop.ear.events;
    CHECK(events == (fifo ? 1 : 0));
    send(loop.out);
    CHECK(wait_for(&loop.ear.events, events + 1));
    move_back(&before);
    loop_close(&other);
    loop_close(&loop);
}

static void shared_info_has_nothing_for_ports_beyond_the_page(void)
{
    static const ULONG ports[] = {4096, 5000, 0xFFFFFFFF};
    for (ULONG i = 0; i < ARRAYSIZE(ports); i++) {
        XENBUS_SHARED_INFO(EvtchnMask, &info, ports[i]);
        XENBUS_SHARED_INFO(EvtchnAck, &info, ports[i]);
        CHECK(!XENBUS_SHARED_INFO(EvtchnUnmask, &info, ports[i]));
    }
    VISITS visits = {0};
    CHECK(!XENBUS_SHARED_INFO(EvtchnPoll, &info, 1000, visit, &visits));
    CHECK(visits.visits == 0 && visits.others == 0);
}

void shared_info_tests(void)
{
    if (!QUERY(XENBUS_SHARED_INFO, XENBUS_SHARED_INFO_INTERFACE_VERSION_MAX, &info)
        || !NT_SUCCESS(XENBUS_SHARED_INFO(Acquire, &info))) {
        DbgPrint("TEST shared_info FAIL not acquired\n");
        return;
    }
    RUN(shared_info_has_dom0s_time_and_it_goes_on);
    RUN(shared_info_of_every_version_tells_the_time);
    RUN(shared_info_supports_upcalls_of_processors_that_are_there);
    RUN(shared_info_has_nothing_for_ports_beyond_the_page);
    if (QUERY(XENBUS_EVTCHN, XENBUS_EVTCHN_INTERFACE_VERSION_MAX, &evtchn) && NT_SUCCESS(XENBUS_EVTCHN(Acquire, &evtchn))) {
        RUN(shared_info_takes_an_upcall);
        XENBUS_EVTCHN(Release, &evtchn);
    }
    XENBUS_SHARED_INFO(Release, &info);
}
