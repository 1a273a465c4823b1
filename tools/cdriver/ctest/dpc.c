// SPDX-License-Identifier: BSD-2-Clause
// DPCs and processors.
#include "../test.h"

static volatile LONG runs, wrong_cpu, last_order, disorder;
static volatile PVOID first_argument;

static VOID NTAPI count(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(second);
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    if (context != NULL && (ULONG)(ULONG_PTR)context - 1 != KeGetCurrentProcessorNumberEx(NULL))
        InterlockedIncrement(&wrong_cpu);
    first_argument = first;
    InterlockedIncrement(&runs);
}

static void queued_once_and_run_on_lowering(void)
{
    KDPC dpc;
    runs = 0;
    KeInitializeDpc(&dpc, count, NULL);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    CHECK(KeInsertQueueDpc(&dpc, (PVOID)1, NULL));
    CHECK(!KeInsertQueueDpc(&dpc, (PVOID)2, NULL));
    CHECK(runs == 0);
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK(runs == 1 && first_argument == (PVOID)1);
    old = KeRaiseIrqlToDpcLevel();
    CHECK(KeInsertQueueDpc(&dpc, NULL, NULL));
    CHECK(KeRemoveQueueDpc(&dpc));
    CHECK(!KeRemoveQueueDpc(&dpc));
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK(runs == 1);
    // From above DISPATCH_LEVEL, as an interrupt routine does.
    KeRaiseIrql(HIGH_LEVEL, &old);
    CHECK(KeInsertQueueDpc(&dpc, NULL, NULL));
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK(runs == 2);
}

static VOID NTAPI in_order(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    LONG number = (LONG)(LONG_PTR)context;
    if (number != last_order + 1)
        disorder++;
    last_order = number;
}

static void order_is_that_of_queueing(void)
{
    static KDPC dpcs[8];
    last_order = disorder = 0;
    KIRQL old = KeRaiseIrqlToDpcLevel();
    for (int i = 0; i < 8; i++) {
        KeInitializeDpc(&dpcs[i], in_order, (PVOID)(LONG_PTR)(i + 1));
        KeInsertQueueDpc(&dpcs[i], NULL, NULL);
    }
    KeLowerIrql(old);
    KeFlushQueuedDpcs();
    CHECK(last_order == 8 && disorder == 0);
}

static volatile LONG requeued;

static VOID NTAPI again(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    if (InterlockedIncrement(&requeued) < 5)
        CHECK(KeInsertQueueDpc(dpc, NULL, NULL));
}

static void may_queue_itself(void)
{
    KDPC dpc;
    LARGE_INTEGER delay = { .QuadPart = MILLISECONDS(10) };
    requeued = 0;
    KeInitializeDpc(&dpc, again, NULL);
    KeInsertQueueDpc(&dpc, NULL, NULL);
    for (int i = 0; i < 100 && requeued < 5; i++)
        KeDelayExecutionThread(KernelMode, FALSE, &delay);
    KeFlushQueuedDpcs();
    CHECK(requeued == 5);
}

static void targeted_at_every_processor(void)
{
    static KDPC dpc;
    PROCESSOR_NUMBER number;
    ULONG active = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    CHECK(active >= 1 && KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) >= active);
    CHECK_STATUS(KeGetProcessorNumberFromIndex(active + 64, &number), STATUS_INVALID_PARAMETER);
    runs = wrong_cpu = 0;
    for (ULONG cpu = 0; cpu < active; cpu++) {
        CHECK_STATUS(KeGetProcessorNumberFromIndex(cpu, &number), STATUS_SUCCESS);
        CHECK(KeGetProcessorIndexFromNumber(&number) == cpu);
        KeInitializeDpc(&dpc, count, (PVOID)(ULONG_PTR)(cpu + 1));
        CHECK_STATUS(KeSetTargetProcessorDpcEx(&dpc, &number), STATUS_SUCCESS);
        KeSetImportanceDpc(&dpc, HighImportance);
        CHECK(KeInsertQueueDpc(&dpc, NULL, NULL));
        KeFlushQueuedDpcs();
        CHECK(runs == (LONG)cpu + 1);
    }
    CHECK(wrong_cpu == 0);
    number.Group = 0;
    number.Number = 77;
    CHECK(KeGetProcessorIndexFromNumber(&number) == INVALID_PROCESSOR_INDEX);
    CHECK_STATUS(KeSetTargetProcessorDpcEx(&dpc, &number), STATUS_INVALID_PARAMETER);
    KeInitializeThreadedDpc(&dpc, in_order, (PVOID)1);
    CHECK(KeInsertQueueDpc(&dpc, NULL, NULL));
    KeFlushQueuedDpcs();
}

static volatile LONG starts, completes;

static VOID NTAPI processor_change(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS status)
{
    UNREFERENCED_PARAMETER(status);
    CHECK(context == (PVOID)9 && KeGetCurrentIrql() == PASSIVE_LEVEL);
    if (change->State == KeProcessorAddStartNotify)
        starts++;
    if (change->State == KeProcessorAddCompleteNotify)
        completes++;
}

static void change_callback_names_every_processor(void)
{
    starts = completes = 0;
    PVOID handle = KeRegisterProcessorChangeCallback(processor_change, (PVOID)9, KE_PROCESSOR_CHANGE_ADD_EXISTING);
    CHECK(handle != NULL);
    LONG active = (LONG)KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    CHECK(starts == active && completes == active);
    KeDeregisterProcessorChangeCallback(handle);
}

void dpc_tests(void)
{
    RUN(queued_once_and_run_on_lowering);
    RUN(order_is_that_of_queueing);
    RUN(may_queue_itself);
    RUN(targeted_at_every_processor);
    RUN(change_callback_names_every_processor);
}
