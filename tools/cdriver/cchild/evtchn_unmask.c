// SPDX-License-Identifier: BSD-2-Clause
// Masks, processors, and closing: who hears of an event, and where.
#include "evtchn.h"

#define ROUNDS 20
#define STORMS 8
#define STORM_EVENTS 20

static void evtchn_masks_itself_until_it_is_unmasked(void)
{
    LOOP loop;
    if (!loop_open(&loop, TRUE))
        return;
    CHECK(!XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE));
    for (LONG i = 1; i <= ROUNDS; i++) {
        send(loop.out);
        CHECK(wait_for(&loop.ear.events, i));
        // Events that come now are one, and wait.
        send(loop.out);
        send(loop.out);
        pause(2);
        CHECK(loop.ear.events == i);
        CHECK(!XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE));
        CHECK(wait_for(&loop.ear.events, ++i));
        CHECK(!XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE));
    }
    CHECK(XENBUS_EVTCHN(GetCount, &evtchn, loop.in) == (ULONG)loop.ear.events);
    loop_close(&loop);
}

// Unmasks at DISPATCH_LEVEL on a processor. `pending` is the result to expect: the event is the caller's; else it is heard, if
// `heard`.
static void unmask(LOOP *loop, ULONG processor, BOOLEAN force, BOOLEAN pending, BOOLEAN heard)
{
    GROUP_AFFINITY before;
    KIRQL irql;
    LONG events = loop->ear.events;
    move_to(processor, &before);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    BOOLEAN result = XENBUS_EVTCHN(Unmask, &evtchn, loop->in, FALSE, force);
    KeLowerIrql(irql);
    move_back(&before);
    CHECK(!!result == pending);
    if (heard)
        CHECK(wait_for(&loop->ear.events, events + 1));
    else
        pause(2);
    CHECK(loop->ear.events == events + heard);
}

static void evtchn_unmask_tells_whose_the_event_is(void)
{
    LOOP loop;
    if (!loop_open(&loop, TRUE))
        return;
    // Masked from the start, with an event.
    send(loop.out);
    unmask(&loop, 0, FALSE, TRUE, FALSE);
    // Still masked: it masks itself, and the caller looks again.
    send(loop.out);
    unmask(&loop, 0, FALSE, TRUE, FALSE);
    unmask(&loop, 0, FALSE, FALSE, FALSE);
    // Unmasked now; the delivery masks.
    send(loop.out);
    CHECK(wait_for(&loop.ear.events, 1));
    send(loop.out);
    unmask(&loop, 0, TRUE, FALSE, TRUE);
    if (KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) > 1) {
        // Not the channel's processor: the hypervisor raises it there.
        send(loop.out);
        unmask(&loop, 1, FALSE, FALSE, TRUE);
        CHECK(loop.ear.processor == 0);
    }
    loop_close(&loop);
    // One that does not mask itself is unmasked by the call that takes its event.
    if (!loop_open(&loop, FALSE))
        return;
    send(loop.out);
    unmask(&loop, 0, FALSE, TRUE, FALSE);
    send(loop.out);
    CHECK(wait_for(&loop.ear.events, 1));
    loop_close(&loop);
}

// Sends to itself a few times, and unmasks.
static BOOLEAN NTAPI hear_and_unmask(PKINTERRUPT interrupt, PVOID argument)
{
    EAR *ear = argument;
    if (ear->events > 10 * ROUNDS) {
        // Left masked, or it would never end.
        CHECK(!"an event for each that was sent");
        return hear(interrupt, argument);
    }
    if (ear->sends > 0) {
        ear->sends--;
        XENBUS_EVTCHN(Send, &evtchn, ear->other);
    }
    CHECK(!XENBUS_EVTCHN(Unmask, &evtchn, ear->channel, TRUE, FALSE));
    return hear(interrupt, argument);
}

static void evtchn_unmasked_in_its_callback_loses_no_event(void)
{
    EAR ear = {0}, deaf = {0};
    ear.channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, hear_and_unmask, &ear, DOMID_SELF, TRUE);
    CHECK(ear.channel != NULL);
    if (ear.channel == NULL)
        return;
    ULONG port = XENBUS_EVTCHN(GetPort, &evtchn, ear.channel);
    ear.other = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &deaf, DOMID_SELF, port, FALSE);
    CHECK(ear.other != NULL);
    if (ear.other != NULL) {
        ear.sends = ROUNDS;
        XENBUS_EVTCHN(Unmask, &evtchn, ear.channel, FALSE, TRUE);
        send(ear.other);
        CHECK(wait_for(&ear.events, ROUNDS + 1));
        pause(2);
        CHECK(ear.events == ROUNDS + 1 && ear.sends == 0);
        XENBUS_EVTCHN(Close, &evtchn, ear.other);
    }
    XENBUS_EVTCHN(Close, &evtchn, ear.channel);
}

static void evtchn_moves_to_every_processor(void)
{
    LOOP loop;
    ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    if (!loop_open(&loop, FALSE))
        return;
    XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE);
    LONG events = 0;
    // Round about, so that the last one is processor 0 again.
    for (ULONG i = 1; i <= count; i++) {
        PROCESSOR_NUMBER number = {0};
        ULONG processor = i % count;
        CHECK_STATUS(KeGetProcessorNumberFromIndex(processor, &number), STATUS_SUCCESS);
        NTSTATUS wanted = processor != 0 && one_processor ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
        CHECK_STATUS(XENBUS_EVTCHN(Bind, &evtchn, loop.in, number.Group, number.Number), wanted);
        if (!NT_SUCCESS(wanted))
            processor = 0;
        for (int sends = 0; sends < ROUNDS; sends++) {
            send(loop.out);
            CHECK(wait_for(&loop.ear.events, ++events));
            CHECK(loop.ear.processor == (LONG)processor);
        }
    }
    CHECK(!NT_SUCCESS(XENBUS_EVTCHN(Bind, &evtchn, loop.in, 0, 200)));
    CHECK(!NT_SUCCESS(XENBUS_EVTCHN(Bind, &evtchn, loop.in, 9, 0)));
    loop_close(&loop);
    // An event that came before the move is heard after it.
    if (count == 1 || one_processor || !loop_open(&loop, FALSE))
        return;
    send(loop.out);
    CHECK_STATUS(XENBUS_EVTCHN(Bind, &evtchn, loop.in, 0, 1), STATUS_SUCCESS);
    CHECK(loop.ear.events == 0);
    XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE);
    CHECK(wait_for(&loop.ear.events, 1));
    CHECK(loop.ear.processor == 1);
    loop_close(&loop);
}

static void evtchn_closed_in_a_storm_of_dom0_calls_nobody_any_more(void)
{
    char answer[64];
    ULONG count = one_processor ? 1 : KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    for (ULONG i = 0; i < STORMS; i++) {
        EAR ear = {0};
        PXENBUS_EVTCHN_CHANNEL channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, hear, &ear, 0, FALSE);
        CHECK(channel != NULL);
        if (channel == NULL)
            return;
        CHECK_STATUS(XENBUS_EVTCHN(Bind, &evtchn, channel, 0, (UCHAR)(i % count)), STATUS_SUCCESS);
        XENBUS_EVTCHN(Unmask, &evtchn, channel, FALSE, TRUE);
        BOOLEAN storm = ask(answer, sizeof answer, "evtchn storm %u", XENBUS_EVTCHN(GetPort, &evtchn, channel));
        CHECK(storm);
        for (int tries = 0; storm && tries < 12000 && ear.events < STORM_EVENTS; tries++)
            pause(5);
        XENBUS_EVTCHN(Close, &evtchn, channel);
        ear.closed = 1;
        LONG events = ear.events;
        CHECK(events >= STORM_EVENTS);
        pause(5);
        // The storm goes on, and nobody hears it.
        CHECK(ear.events == events);
        CHECK(storm && ask(answer, sizeof answer, "evtchn calm") && _strtoui64(answer, NULL, 10) >= STORM_EVENTS);
    }
}

void evtchn_unmask_tests(void)
{
    RUN(evtchn_masks_itself_until_it_is_unmasked);
    RUN(evtchn_unmask_tells_whose_the_event_is);
    RUN(evtchn_unmasked_in_its_callback_loses_no_event);
    RUN(evtchn_moves_to_every_processor);
    RUN(evtchn_closed_in_a_storm_of_dom0_calls_nobody_any_more);
}
