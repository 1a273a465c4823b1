// SPDX-License-Identifier: BSD-2-Clause
// SUSPEND version 1, without leaving the domain: what is registered, and a suspend that the toolstack takes back.
#include "child.h"

static XENBUS_SUSPEND_INTERFACE suspend;

static VOID count(PVOID argument)
{
    InterlockedIncrement((volatile LONG *)argument);
}

static void suspend_registers_early_and_late_and_refuses_the_rest(void)
{
    volatile LONG calls = 0;
    PXENBUS_SUSPEND_CALLBACK callbacks[4];
    static const XENBUS_SUSPEND_CALLBACK_TYPE types[] = {SUSPEND_CALLBACK_EARLY, SUSPEND_CALLBACK_LATE, SUSPEND_CALLBACK_LATE,
                                                         SUSPEND_CALLBACK_EARLY};
    KIRQL irql;
    for (int i = 0; i < 4; i++) {
        callbacks[i] = NULL;
        KeRaiseIrql(i % 2 == 0 ? PASSIVE_LEVEL : DISPATCH_LEVEL, &irql);
        CHECK_STATUS(XENBUS_SUSPEND(Register, &suspend, types[i], count, (PVOID)&calls, &callbacks[i]), STATUS_SUCCESS);
        KeLowerIrql(irql);
        CHECK(callbacks[i] != NULL);
    }
    for (int i = 0; i < 4; i++) {
        KeRaiseIrql(i % 2 == 0 ? DISPATCH_LEVEL : PASSIVE_LEVEL, &irql);
        XENBUS_SUSPEND(Deregister, &suspend, callbacks[i]);
        KeLowerIrql(irql);
    }
    PXENBUS_SUSPEND_CALLBACK none = NULL;
    CHECK(!NT_SUCCESS(XENBUS_SUSPEND(Register, &suspend, SUSPEND_CALLBACK_TYPE_INVALID, count, NULL, &none)));
    CHECK(!NT_SUCCESS(XENBUS_SUSPEND(Register, &suspend, (XENBUS_SUSPEND_CALLBACK_TYPE)3, count, NULL, &none)));
    CHECK(!NT_SUCCESS(XENBUS_SUSPEND(Register, &suspend, SUSPEND_CALLBACK_LATE, NULL, NULL, &none)));
    CHECK(none == NULL && calls == 0);
}

static void suspend_that_is_cancelled_calls_nobody(void)
{
    char answer[64];
    volatile LONG early = 0, late = 0;
    PXENBUS_SUSPEND_CALLBACK callbacks[2];
    CHECK_STATUS(XENBUS_SUSPEND(Register, &suspend, SUSPEND_CALLBACK_EARLY, count, (PVOID)&early, &callbacks[0]), STATUS_SUCCESS);
    CHECK_STATUS(XENBUS_SUSPEND(Register, &suspend, SUSPEND_CALLBACK_LATE, count, (PVOID)&late, &callbacks[1]), STATUS_SUCCESS);
    ULONG before = XENBUS_SUSPEND(GetCount, &suspend);
    CHECK(ask(answer, sizeof answer, "suspend cancel"));
    CHECK(XENBUS_SUSPEND(GetCount, &suspend) == before);
    CHECK(early == 0 && late == 0);
    XENBUS_SUSPEND(Deregister, &suspend, callbacks[1]);
    XENBUS_SUSPEND(Deregister, &suspend, callbacks[0]);
}

// The domain asks for it, and the toolstack lets it go on as if nothing had been.
static void suspend_triggered_by_a_child_returns_when_the_domain_goes_on(void)
{
    char answer[64];
    volatile LONG late = 0;
    PXENBUS_SUSPEND_CALLBACK callback;
    CHECK_STATUS(XENBUS_SUSPEND(Register, &suspend, SUSPEND_CALLBACK_LATE, count, (PVOID)&late, &callback), STATUS_SUCCESS);
    ULONG before = XENBUS_SUSPEND(GetCount, &suspend);
    BOOLEAN awaited = ask(answer, sizeof answer, "suspend await");
    CHECK(awaited);
    if (awaited) {
        CHECK_STATUS(XENBUS_SUSPEND(Trigger, &suspend), STATUS_SUCCESS);
        CHECK(ask(answer, sizeof answer, "suspend went"));
    }
    CHECK(XENBUS_SUSPEND(GetCount, &suspend) == before && late == 0);
    XENBUS_SUSPEND(Deregister, &suspend, callback);
}

void suspend_tests(void)
{
    if (!QUERY(XENBUS_SUSPEND, XENBUS_SUSPEND_INTERFACE_VERSION_MAX, &suspend)
        || !NT_SUCCESS(XENBUS_SUSPEND(Acquire, &suspend))) {
        DbgPrint("TEST suspend FAIL not acquired\n");
        return;
    }
    RUN(suspend_registers_early_and_late_and_refuses_the_rest);
    RUN(suspend_that_is_cancelled_calls_nobody);
    RUN(suspend_triggered_by_a_child_returns_when_the_domain_goes_on);
    XENBUS_SUSPEND(Release, &suspend);
}
