// SPDX-License-Identifier: BSD-2-Clause
// EVTCHN versions 5 to 9: every type of channel, counts and waits.
#include "evtchn.h"

#define BOUNCES 100
#define TICKS 3
#define VIRQ_TIMER 0
#define VIRQ_DEBUG 1
#define PROCESSORS 64

XENBUS_EVTCHN_INTERFACE evtchn;
BOOLEAN one_processor;

BOOLEAN NTAPI hear(PKINTERRUPT interrupt, PVOID argument)
{
    EAR *ear = argument;
    CHECK(interrupt == NULL && ear->closed == 0);
    ear->processor = (LONG)KeGetCurrentProcessorNumberEx(NULL);
    InterlockedIncrement(&ear->events);
    return TRUE;
}

void send(PXENBUS_EVTCHN_CHANNEL channel)
{
    KIRQL irql;
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    XENBUS_EVTCHN(Send, &evtchn, channel);
    KeLowerIrql(irql);
}

BOOLEAN loop_open(LOOP *loop, BOOLEAN mask)
{
    RtlZeroMemory(loop, sizeof *loop);
    loop->in = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, hear, &loop->ear, DOMID_SELF, mask);
    CHECK(loop->in != NULL);
    if (loop->in == NULL)
        return FALSE;
    ULONG port = XENBUS_EVTCHN(GetPort, &evtchn, loop->in);
    loop->out = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &loop->deaf, DOMID_SELF, port, FALSE);
    CHECK(loop->out != NULL);
    if (loop->out == NULL)
        XENBUS_EVTCHN(Close, &evtchn, loop->in);
    return loop->out != NULL;
}

void loop_close(LOOP *loop)
{
    XENBUS_EVTCHN(Close, &evtchn, loop->in);
    loop->ear.closed = 1;
    XENBUS_EVTCHN(Close, &evtchn, loop->out);
    loop->deaf.closed = 1;
}

// Sends through `channel` and waits for the answer, BOUNCES times, then asks dom0 how many it answered.
static void bounce(PXENBUS_EVTCHN_CHANNEL channel, EAR *ear)
{
    char answer[64];
    for (LONG i = 1; i <= BOUNCES; i++) {
        send(channel);
        if (!wait_for(&ear->events, i)) {
            CHECK(!"every event is answered");
            break;
        }
    }
    CHECK(XENBUS_EVTCHN(GetCount, &evtchn, channel) == BOUNCES);
    CHECK(ask(answer, sizeof answer, "evtchn join") && strcmp(answer, "100") == 0);
}

static void evtchn_bounces_off_dom0(void)
{
    char answer[64];
    EAR ear = {0};
    PXENBUS_EVTCHN_CHANNEL channel = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, hear, &ear, 0, FALSE);
    CHECK(channel != NULL);
    if (channel == NULL)
        return;
    XENBUS_EVTCHN(Unmask, &evtchn, channel, FALSE, TRUE);
    BOOLEAN bounces = ask(answer, sizeof answer, "evtchn bounce %u %u", XENBUS_EVTCHN(GetPort, &evtchn, channel), BOUNCES);
    CHECK(bounces);
    if (bounces)
        bounce(channel, &ear);
    XENBUS_EVTCHN(Close, &evtchn, channel);
}

static void evtchn_binds_to_a_port_of_dom0(void)
{
    char answer[64];
    EAR ear = {0};
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &ear, 0, 0, FALSE) == NULL);
    BOOLEAN offered = ask(answer, sizeof answer, "evtchn offer %u", BOUNCES);
    CHECK(offered);
    if (!offered)
        return;
    ULONG port = (ULONG)_strtoui64(answer, NULL, 10);
    PXENBUS_EVTCHN_CHANNEL channel =
        XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &ear, 0, port, FALSE);
    CHECK(channel != NULL);
    if (channel == NULL)
        return;
    CHECK(ear.events == 0);
    // Xen marks a port that binds pending.
    XENBUS_EVTCHN(Unmask, &evtchn, channel, FALSE, TRUE);
    CHECK(wait_for(&ear.events, 1));
    // It is dom0's no more.
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &ear, 0, port, FALSE) == NULL);
    for (LONG i = 1; i <= BOUNCES; i++) {
        send(channel);
        if (!wait_for(&ear.events, 1 + i)) {
            CHECK(!"every event is answered");
            break;
        }
    }
    CHECK(ask(answer, sizeof answer, "evtchn join") && strcmp(answer, "100") == 0);
    XENBUS_EVTCHN(Close, &evtchn, channel);
}

static void evtchn_loops_back_to_ourselves(void)
{
    LOOP loop;
    if (!loop_open(&loop, FALSE))
        return;
    send(loop.out);
    pause(2);
    CHECK(loop.ear.events == 0);
    XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE);
    CHECK(wait_for(&loop.ear.events, 1));
    for (LONG i = 2; i <= BOUNCES; i++) {
        send(loop.out);
        CHECK(wait_for(&loop.ear.events, i));
    }
    CHECK(loop.ear.processor == 0);
    CHECK(XENBUS_EVTCHN(GetCount, &evtchn, loop.in) == BOUNCES);
    // And the other way round.
    XENBUS_EVTCHN(Unmask, &evtchn, loop.out, FALSE, TRUE);
    CHECK(wait_for(&loop.deaf.events, 1));
    send(loop.in);
    CHECK(wait_for(&loop.deaf.events, 2));
    loop_close(&loop);
}

static void evtchn_uses_a_fixed_port_and_leaves_it(void)
{
    ULONG port, remote;
    USHORT domain;
    EAR ears[3] = {0};
    CHECK_STATUS(EventChannelAllocateUnbound(DOMID_SELF, &port), STATUS_SUCCESS);
    PXENBUS_EVTCHN_CHANNEL out =
        XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INTER_DOMAIN, hear, &ears[2], DOMID_SELF, port, FALSE);
    CHECK(out != NULL);
    for (int i = 0; out != NULL && i < 2; i++) {
        PXENBUS_EVTCHN_CHANNEL fixed = XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_FIXED, hear, &ears[i], port, FALSE);
        CHECK(fixed != NULL);
        if (fixed == NULL)
            break;
        CHECK(XENBUS_EVTCHN(GetPort, &evtchn, fixed) == port);
        XENBUS_EVTCHN(Unmask, &evtchn, fixed, FALSE, TRUE);
        // One channel to a port, and the first one goes on.
        CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_FIXED, hear, &ears[2], port, FALSE) == NULL);
        send(out);
        CHECK(wait_for(&ears[i].events, 1));
        XENBUS_EVTCHN(Close, &evtchn, fixed);
        ears[i].closed = 1;
        CHECK_STATUS(EventChannelQueryInterDomain(port, &domain, &remote), STATUS_SUCCESS);
    }
    if (out != NULL)
        XENBUS_EVTCHN(Close, &evtchn, out);
    CHECK_STATUS(EventChannelClose(port), STATUS_SUCCESS);
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_FIXED, hear, &ears[2], 0, FALSE) == NULL);
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_INVALID, hear, &ears[2], 0, FALSE) == NULL);
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_UNBOUND, NULL, &ears[2], 0, FALSE) == NULL);
    CHECK(ears[2].events == 0);
}

static PXENBUS_EVTCHN_CHANNEL open_virq(ULONG index, ULONG processor, EAR *ear)
{
    PROCESSOR_NUMBER number = {0};
    CHECK_STATUS(KeGetProcessorNumberFromIndex(processor, &number), STATUS_SUCCESS);
    return XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_VIRQ, hear, ear, index, number.Group, number.Number);
}

static void evtchn_hears_the_timer_of_every_processor(void)
{
    static EAR ears[PROCESSORS];
    LARGE_INTEGER period;
    ULONG vcpu;
    ULONG count = min(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), PROCESSORS);
    RtlZeroMemory(ears, sizeof ears);
    period.QuadPart = MILLISECONDS(-5);
    for (ULONG i = 0; i < count; i++) {
        PXENBUS_EVTCHN_CHANNEL channel = open_virq(VIRQ_TIMER, i, &ears[i]);
        ears[i].channel = channel;
        if (i != 0 && one_processor) {
            CHECK(channel == NULL);
            continue;
        }
        CHECK(channel != NULL);
        if (channel == NULL)
            continue;
        CHECK(open_virq(VIRQ_TIMER, i, &ears[i]) == NULL);
        XENBUS_EVTCHN(Unmask, &evtchn, channel, FALSE, TRUE);
        CHECK_STATUS(SystemProcessorVcpuId(i, &vcpu), STATUS_SUCCESS);
        CHECK_STATUS(VcpuSetPeriodicTimer(vcpu, &period), STATUS_SUCCESS);
    }
    for (ULONG i = 0; i < count; i++) {
        if (ears[i].channel == NULL)
            continue;
        for (int tries = 0; tries < 2000 && ears[i].events < TICKS; tries++)
            pause(5);
        CHECK(ears[i].events >= TICKS);
        CHECK(ears[i].processor == (LONG)i);
        SystemProcessorVcpuId(i, &vcpu);
        CHECK_STATUS(VcpuSetPeriodicTimer(vcpu, NULL), STATUS_SUCCESS);
        XENBUS_EVTCHN(Close, &evtchn, ears[i].channel);
        ears[i].closed = 1;
    }
    EAR none = {0};
    CHECK(XENBUS_EVTCHN(Open, &evtchn, XENBUS_EVTCHN_TYPE_VIRQ, hear, &none, VIRQ_TIMER, 7, 0) == NULL);
}

static void evtchn_hears_dom0s_debug_key_on_every_processor(void)
{
    static EAR ears[PROCESSORS];
    char answer[64];
    ULONG count = min(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), PROCESSORS);
    RtlZeroMemory(ears, sizeof ears);
    for (ULONG i = 0; i < count; i++) {
        ears[i].channel = open_virq(VIRQ_DEBUG, i, &ears[i]);
        // The bus has that of processor 0.
        CHECK((ears[i].channel != NULL) == (i != 0 && !one_processor));
        if (ears[i].channel != NULL)
            XENBUS_EVTCHN(Unmask, &evtchn, ears[i].channel, FALSE, TRUE);
    }
    CHECK(ask(answer, sizeof answer, "xl debug-keys q"));
    for (ULONG i = 0; i < count; i++) {
        if (ears[i].channel == NULL)
            continue;
        CHECK(wait_for(&ears[i].events, 1));
        CHECK(ears[i].processor == (LONG)i);
        XENBUS_EVTCHN(Close, &evtchn, ears[i].channel);
        ears[i].closed = 1;
    }
}

// Triggers a channel some time later.
static VOID NTAPI late(PKDPC dpc, PVOID channel, PVOID unused, PVOID unused_too)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(unused);
    UNREFERENCED_PARAMETER(unused_too);
    XENBUS_EVTCHN(Trigger, &evtchn, channel);
}

static void evtchn_waits_for_a_count_but_no_longer_than_asked(void)
{
    LOOP loop;
    LARGE_INTEGER timeout;
    KIRQL irql;
    if (!loop_open(&loop, FALSE))
        return;
    XENBUS_EVTCHN(Unmask, &evtchn, loop.in, FALSE, TRUE);
    // One look.
    timeout.QuadPart = 0;
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 0, &timeout), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 1, &timeout), STATUS_TIMEOUT);
    // From now, and until then.
    ULONGLONG before = KeQueryInterruptTime();
    timeout.QuadPart = MILLISECONDS(20);
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 1, &timeout), STATUS_TIMEOUT);
    CHECK((LONGLONG)(KeQueryInterruptTime() - before) >= -MILLISECONDS(10));
    KeQuerySystemTime(&timeout);
    timeout.QuadPart -= MILLISECONDS(20);
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 1, &timeout), STATUS_TIMEOUT);
    KeRaiseIrql(DISPATCH_LEVEL, &irql);
    timeout.QuadPart = MILLISECONDS(20);
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 1, &timeout), STATUS_TIMEOUT);
    // An event is heard at DISPATCH_LEVEL too, on the channel's own processor or another.
    XENBUS_EVTCHN(Send, &evtchn, loop.out);
    CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, 1, NULL), STATUS_SUCCESS);
    KeLowerIrql(irql);
    // Counted before the callback, which may still be on its way on the channel's processor.
    CHECK(wait_for(&loop.ear.events, 1));
    for (LONG i = 2; i <= 10; i++) {
        send(loop.out);
        timeout.QuadPart = MILLISECONDS(60000);
        CHECK_STATUS(XENBUS_EVTCHN(Wait, &evtchn, loop.in, (ULONG)i, &timeout), STATUS_SUCCESS);
        CHECK(wait_for(&loop.ear.events, i));
        CHECK(XENBUS_EVTCHN(GetCount, &evtchn, loop.in) == (ULONG)i);
    }
    loop_close(&loop);
}

// Waits for a local event that comes while it waits, as each of the versions has it.
#define WAIT_OLD(table, channel, timeout) XENBUS_EVTCHN(WaitVersion5, table, channel, timeout)
#define WAIT_NEW(table, channel, timeout) \
    (next = XENBUS_EVTCHN(GetCount, table, channel) + 1, XENBUS_EVTCHN(Wait, table, channel, next, timeout))
#define UNMASK_OLD(table, channel) XENBUS_EVTCHN(UnmaskVersion4, table, channel, FALSE)
#define UNMASK_NEW(table, channel) CHECK(!XENBUS_EVTCHN(Unmask, table, channel, FALSE, TRUE))
#define SEND_OLD(table, channel) XENBUS_EVTCHN(SendVersion1, table, channel)
#define SEND_NEW(table, channel)                                                                               \
    do {                                                                                                       \
        KIRQL irql;                                                                                            \
        KeRaiseIrql(DISPATCH_LEVEL, &irql);                                                                    \
        XENBUS_EVTCHN(Send, table, channel);                                                                   \
        KeLowerIrql(irql);                                                                                     \
    } while (0)

#define WHOLE(version, unmask, send, wait)                                                                     \
    do {                                                                                                       \
        struct _XENBUS_EVTCHN_INTERFACE_V##version old;                                                        \
        LOOP loop;                                                                                             \
        if (!QUERY(XENBUS_EVTCHN, version, &old))                                                              \
            break;                                                                                             \
        CHECK_STATUS(XENBUS_EVTCHN(Acquire, &old), STATUS_SUCCESS);                                            \
        if (loop_open(&loop, FALSE)) {                                                                         \
            PXENBUS_EVTCHN_CHANNEL own =                                                                       \
                XENBUS_EVTCHN(Open, &old, XENBUS_EVTCHN_TYPE_UNBOUND, hear, &loop.deaf, DOMID_SELF, FALSE);    \
            CHECK(own != NULL && XENBUS_EVTCHN(GetPort, &old, own) != 0);                                      \
            CHECK_STATUS(XENBUS_EVTCHN(Bind, &old, own, 0, 0), STATUS_SUCCESS);                                \
            XENBUS_EVTCHN(Trigger, &old, own);                                                                 \
            CHECK(wait_for(&loop.deaf.events, 1));                                                             \
            XENBUS_EVTCHN(Close, &old, own);                                                                   \
            unmask(&old, loop.in);                                                                             \
            send(&old, loop.out);                                                                              \
            CHECK(wait_for(&loop.ear.events, 1));                                                              \
            timeout.QuadPart = MILLISECONDS(10);                                                               \
            CHECK_STATUS(wait(&old, loop.in, &timeout), STATUS_TIMEOUT);                                       \
            KeInitializeDpc(&dpc, late, loop.in);                                                              \
            KeInitializeTimer(&timer);                                                                         \
            KeSetTimer(&timer, timeout, &dpc);                                                                 \
            CHECK_STATUS(wait(&old, loop.in, NULL), STATUS_SUCCESS);                                           \
            CHECK(wait_for(&loop.ear.events, 2));                                                              \
            KeFlushQueuedDpcs();                                                                               \
            loop_close(&loop);                                                                                 \
        }                                                                                                      \
        XENBUS_EVTCHN(Release, &old);                                                                          \
    } while (0)

static void evtchn_of_every_version_opens_sends_waits_and_triggers(void)
{
    KTIMER timer;
    KDPC dpc;
    LARGE_INTEGER timeout;
    ULONG next;
    WHOLE(5, UNMASK_OLD, SEND_OLD, WAIT_OLD);
    WHOLE(6, UNMASK_OLD, SEND_NEW, WAIT_OLD);
    WHOLE(7, UNMASK_OLD, SEND_NEW, WAIT_NEW);
    WHOLE(8, UNMASK_NEW, SEND_NEW, WAIT_NEW);
    WHOLE(9, UNMASK_NEW, SEND_NEW, WAIT_NEW);
}

void evtchn_tests(void)
{
    if (!QUERY(XENBUS_EVTCHN, XENBUS_EVTCHN_INTERFACE_VERSION_MAX, &evtchn) || !NT_SUCCESS(XENBUS_EVTCHN(Acquire, &evtchn))) {
        DbgPrint("TEST evtchn FAIL not acquired\n");
        return;
    }
    one_processor = parameter("OneProcessor", 0) != 0;
    RUN(evtchn_bounces_off_dom0);
    RUN(evtchn_binds_to_a_port_of_dom0);
    RUN(evtchn_loops_back_to_ourselves);
    RUN(evtchn_uses_a_fixed_port_and_leaves_it);
    RUN(evtchn_hears_the_timer_of_every_processor);
    RUN(evtchn_hears_dom0s_debug_key_on_every_processor);
    RUN(evtchn_waits_for_a_count_but_no_longer_than_asked);
    RUN(evtchn_of_every_version_opens_sends_waits_and_triggers);
    evtchn_unmask_tests();
    evtchn_many_tests();
    XENBUS_EVTCHN(Release, &evtchn);
}
