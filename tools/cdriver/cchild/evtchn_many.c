// SPDX-License-Identifier: BSD-2-Clause
// As many channels as the domain may have.
#include "evtchn.h"

// Ports that the toolstack allows unless told otherwise.
#define USUAL 1024

// Opens loops until `wanted` channels are open or one is refused; their number.
static LONG fill(EAR *ears, LONG wanted)
{
    for (LONG i = 0; i < wanted; i += 2) {
        EAR *in = &ears[i], *out = &ears[i + 1];
        RtlZeroMemory(in, 2 * sizeof *in);
        in->channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, hear, in, DOMID_SELF, FALSE);
        if (in->channel == NULL)
            return i;
        ULONG port = XENBUS_EVTCHN(GetPort, &evtchn, in->channel);
        out->channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, out, DOMID_SELF, port, FALSE);
        if (out->channel == NULL) {
            XENBUS_EVTCHN(Close, &evtchn, in->channel);
            return i;
        }
    }
    return wanted;
}

static void empty(EAR *ears, LONG opened)
{
    for (LONG i = 0; i < opened; i++) {
        XENBUS_EVTCHN(Close, &evtchn, ears[i].channel);
        ears[i].closed = 1;
    }
}

// Each one hears what is sent by the other one of its loop, and nothing else.
static void deliver(EAR *ears, LONG opened)
{
    for (LONG i = 0; i < opened; i++)
        XENBUS_EVTCHN(Unmask, &evtchn, ears[i].channel, FALSE, TRUE);
    // Xen marks each that bound.
    for (LONG i = 1; i < opened; i += 2)
        CHECK(wait_for(&ears[i].events, 1));
    for (LONG i = 0; i < opened; i++)
        send(ears[i].channel);
    LONG bad = 0;
    for (LONG i = 0; i < opened; i++)
        bad += !wait_for(&ears[i].events, 1 + i % 2);
    CHECK(bad == 0);
}

static void evtchn_opens_as_many_channels_as_the_domain_may(void)
{
    LONG asked = (LONG)parameter("Channels", 0);
    LONG wanted = asked != 0 ? asked : 2 * USUAL;
    EAR *ears = ExAllocatePoolWithTag(NonPagedPoolNx, wanted * sizeof *ears, TAG);
    CHECK(ears != NULL);
    if (ears == NULL)
        return;
    LONG opened = fill(ears, wanted);
    if (asked != 0)
        CHECK(opened == asked);
    else
        CHECK(opened > USUAL / 2 && opened < USUAL);
    deliver(ears, opened);
    empty(ears, opened);
    // Nothing of those, and of the one that was refused, is left.
    LONG again = fill(ears, wanted);
    CHECK(again == opened);
    empty(ears, again);
    DbgPrint("cchild: %d channels open at once\n", opened);
    ExFreePoolWithTag(ears, TAG);
}

void evtchn_many_tests(void)
{
    RUN(evtchn_opens_as_many_channels_as_the_domain_may);
}
