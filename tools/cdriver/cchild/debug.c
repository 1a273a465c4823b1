// SPDX-License-Identifier: BSD-2-Clause
// DEBUG version 1. What the callbacks print is looked for in the log (tools/xtask/src/test/children.rs).
#include "child.h"

#define MAGIC 0xC0DE0001

static XENBUS_DEBUG_INTERFACE debug;
static volatile LONG calls, others, wrong;

static VOID NTAPI formats(PVOID argument, BOOLEAN crashing)
{
    if (argument != (PVOID)&calls || crashing || KeGetCurrentIrql() != HIGH_LEVEL)
        wrong = 1;
    InterlockedIncrement(&calls);
    XENBUS_DEBUG(Printf, &debug, "numbers %d %u %o %x %X %lld %llx %c%%\n", -5, 4000000000u, 8, 0xabcd, 0xabcd, -6000000000ll,
                 0x123456789abcdefull, 'z');
    XENBUS_DEBUG(Printf, &debug, "texts [%s] [%6s] [%-6s] [%ws] [%s]\n", "abc", "abc", "abc", L"wide", (char *)NULL);
    XENBUS_DEBUG(Printf, &debug, "padded [%4d] [%04x] [%-4u] %p\n", 42, 0x2a, 42, (PVOID)0x12345678abcdull);
}

static VOID NTAPI other(PVOID argument, BOOLEAN crashing)
{
    UNREFERENCED_PARAMETER(argument);
    UNREFERENCED_PARAMETER(crashing);
    InterlockedIncrement(&others);
}

static VOID NTAPI last_words(PVOID argument, BOOLEAN crashing)
{
    XENBUS_DEBUG(Printf, &debug, "last words %u %s\n", crashing, argument);
}

static PXENBUS_DEBUG_CALLBACK add(const char *prefix, XENBUS_DEBUG_FUNCTION function, PVOID argument)
{
    PXENBUS_DEBUG_CALLBACK callback = NULL;
    char copied[64];
    // The prefix is copied.
    _snprintf(copied, sizeof copied, "%s", prefix);
    CHECK_STATUS(XENBUS_DEBUG(Register, &debug, copied, function, argument, &callback), STATUS_SUCCESS);
    memset(copied, '!', sizeof copied);
    return callback;
}

static void debug_trigger_of_one_calls_only_that(void)
{
    calls = others = wrong = 0;
    PXENBUS_DEBUG_CALLBACK one = add("cchild", formats, (PVOID)&calls);
    PXENBUS_DEBUG_CALLBACK two = add("a-prefix-of-more-than-31-characters-is-cut", other, NULL);
    XENBUS_DEBUG(Trigger, &debug, one);
    CHECK(calls == 1 && others == 0 && wrong == 0);
    XENBUS_DEBUG(Trigger, &debug, two);
    CHECK(calls == 1 && others == 1);
    XENBUS_DEBUG(Deregister, &debug, one);
    XENBUS_DEBUG(Trigger, &debug, NULL);
    CHECK(calls == 1 && others == 2);
    XENBUS_DEBUG(Deregister, &debug, two);
    XENBUS_DEBUG(Trigger, &debug, NULL);
    CHECK(calls == 1 && others == 2);
}

static void debug_key_of_dom0_calls_everybody(void)
{
    char answer[64];
    calls = others = wrong = 0;
    PXENBUS_DEBUG_CALLBACK one = add("cchild", formats, (PVOID)&calls);
    PXENBUS_DEBUG_CALLBACK two = add("cchild-2", other, NULL);
    CHECK(ask(answer, sizeof answer, "xl debug-keys q"));
    CHECK(wait_for(&calls, 1));
    CHECK(wait_for(&others, 1));
    CHECK(wrong == 0);
    XENBUS_DEBUG(Deregister, &debug, two);
    XENBUS_DEBUG(Deregister, &debug, one);
}

void debug_tests(void)
{
    if (!QUERY(XENBUS_DEBUG, XENBUS_DEBUG_INTERFACE_VERSION_MAX, &debug) || !NT_SUCCESS(XENBUS_DEBUG(Acquire, &debug))) {
        DbgPrint("TEST debug FAIL not acquired\n");
        return;
    }
    RUN(debug_trigger_of_one_calls_only_that);
    RUN(debug_key_of_dom0_calls_everybody);
    if (parameter("Crash", 0) != 0) {
        add("cchild", last_words, (PVOID)"of cchild");
        KeBugCheckEx(MAGIC, 1, 2, 3, 4);
    }
    XENBUS_DEBUG(Release, &debug);
}
