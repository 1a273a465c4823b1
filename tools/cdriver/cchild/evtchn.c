// SPDX-License-Identifier: BSD-2-Clause
// EVTCHN versions 5 to 9.
#include "child.h"

#define BOUNCES 100

static XENBUS_EVTCHN_INTERFACE evtchn;
static volatile LONG events;

static BOOLEAN NTAPI count(PKINTERRUPT interrupt, PVOID argument)
{
    CHECK(interrupt == NULL && argument == (PVOID)&events);
    InterlockedIncrement(&events);
    return TRUE;
}

static void evtchn_bounces_off_dom0(void)
{
    char answer[64];
    KIRQL irql;
    events = 0;
    PXENBUS_EVTCHN_CHANNEL channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, count, (PVOID)&events, 0, FALSE);
    CHECK(channel != NULL);
    if (channel == NULL)
        return;
    XENBUS_EVTCHN(Unmask, &evtchn, channel, FALSE, TRUE);
    if (ask(answer, sizeof answer, "evtchn bounce %u %u", XENBUS_EVTCHN(GetPort, &evtchn, channel), BOUNCES)) {
        for (LONG i = 1; i <= BOUNCES; i++) {
            KeRaiseIrql(DISPATCH_LEVEL, &irql);
            XENBUS_EVTCHN(Send, &evtchn, channel);
            KeLowerIrql(irql);
            if (!wait_for(&events, i)) {
                CHECK(!"every event is answered");
                break;
            }
        }
        CHECK(XENBUS_EVTCHN(GetCount, &evtchn, channel) == BOUNCES);
        CHECK(ask(answer, sizeof answer, "evtchn join") && strcmp(answer, "100") == 0);
    } else {
        CHECK(!"dom0 bounces");
    }
    XENBUS_EVTCHN(Close, &evtchn, channel);
}

// Opens, triggers and closes a channel by the methods that all versions have under the same name.
#define TRIGGER(version)                                                                                       \
    do {                                                                                                       \
        struct _XENBUS_EVTCHN_INTERFACE_V##version old;                                                        \
        if (!QUERY(XENBUS_EVTCHN, version, &old))                                                              \
            break;                                                                                             \
        CHECK_STATUS(XENBUS_EVTCHN(Acquire, &old), STATUS_SUCCESS);                                            \
        events = 0;                                                                                            \
        PXENBUS_EVTCHN_CHANNEL channel =                                                                       \
            XENBUS_EVTCHN(Open, &old, XENBUS_EVTCHN_TYPE_UNBOUND, count, (PVOID)&events, 0, FALSE);            \
        CHECK(channel != NULL);                                                                                \
        if (channel != NULL) {                                                                                 \
            CHECK_STATUS(XENBUS_EVTCHN(Bind, &old, channel, 0, 0), STATUS_SUCCESS);                            \
            XENBUS_EVTCHN(Trigger, &old, channel);                                                             \
            CHECK(wait_for(&events, 1));                                                                       \
            XENBUS_EVTCHN(Close, &old, channel);                                                               \
        }                                                                                                      \
        XENBUS_EVTCHN(Release, &old);                                                                          \
    } while (0)

static void evtchn_of_every_version_triggers_a_local_event(void)
{
    TRIGGER(5);
    TRIGGER(6);
    TRIGGER(7);
    TRIGGER(8);
    TRIGGER(9);
}

void evtchn_tests(void)
{
    if (!QUERY(XENBUS_EVTCHN, XENBUS_EVTCHN_INTERFACE_VERSION_MAX, &evtchn) || !NT_SUCCESS(XENBUS_EVTCHN(Acquire, &evtchn))) {
        DbgPrint("TEST evtchn FAIL not acquired\n");
        return;
    }
    RUN(evtchn_bounces_off_dom0);
    RUN(evtchn_of_every_version_triggers_a_local_event);
    XENBUS_EVTCHN(Release, &evtchn);
}
