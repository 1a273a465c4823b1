// SPDX-License-Identifier: BSD-2-Clause
// IRQL, spin locks, events, semaphores, mutexes, timers, time.
#include "../test.h"

static void inline_irql(void)
{
    KIRQL old;
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeRaiseIrql(APC_LEVEL, &old);
    CHECK(old == PASSIVE_LEVEL && KeGetCurrentIrql() == APC_LEVEL);
    KIRQL apc = KeRaiseIrqlToDpcLevel();
    CHECK(apc == APC_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeLowerIrql(apc);
    KeLowerIrql(old);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
}

static void spin_locks(void)
{
    KSPIN_LOCK lock, inner;
    KIRQL old;
    KeInitializeSpinLock(&lock);
    KeInitializeSpinLock(&inner);
    CHECK(lock == 0);
    KeAcquireSpinLock(&lock, &old);
    CHECK(lock != 0 && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(&inner);
    KeReleaseSpinLockFromDpcLevel(&inner);
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeReleaseSpinLock(&lock, old);
    CHECK(lock == 0 && KeGetCurrentIrql() == PASSIVE_LEVEL);
}

static void queued_spin_locks(void)
{
    KSPIN_LOCK lock, inner;
    KLOCK_QUEUE_HANDLE handle, second;
    KeInitializeSpinLock(&lock);
    KeInitializeSpinLock(&inner);
    KeAcquireInStackQueuedSpinLock(&lock, &handle);
    CHECK(lock != 0 && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeAcquireInStackQueuedSpinLock(&inner, &second);
    KeReleaseInStackQueuedSpinLock(&second);
    CHECK(inner == 0 && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeReleaseInStackQueuedSpinLock(&handle);
    CHECK(lock == 0 && KeGetCurrentIrql() == PASSIVE_LEVEL);
}

static NTSTATUS wait(PVOID object, LONGLONG timeout)
{
    LARGE_INTEGER time = { .QuadPart = timeout };
    return KeWaitForSingleObject(object, Executive, KernelMode, FALSE, &time);
}

static void events(void)
{
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK_STATUS(wait(&event, 0), STATUS_TIMEOUT);
    CHECK(KeSetEvent(&event, IO_NO_INCREMENT, FALSE) == 0);
    CHECK(KeSetEvent(&event, IO_NO_INCREMENT, FALSE) != 0);
    CHECK_STATUS(wait(&event, 0), STATUS_SUCCESS);
    CHECK_STATUS(wait(&event, 0), STATUS_SUCCESS);
    KeClearEvent(&event);
    CHECK(KeReadStateEvent(&event) == 0);
    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    CHECK_STATUS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK_STATUS(wait(&event, MILLISECONDS(5)), STATUS_TIMEOUT);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    CHECK(KeSetEvent(&event, IO_NO_INCREMENT, FALSE) == 0);
    CHECK_STATUS(wait(&event, 0), STATUS_SUCCESS);
    KeLowerIrql(old);
}

static void several_objects(void)
{
    KEVENT events[2];
    PVOID both[2] = { &events[0], &events[1] };
    LARGE_INTEGER zero = { .QuadPart = 0 };
    KeInitializeEvent(&events[0], SynchronizationEvent, FALSE);
    KeInitializeEvent(&events[1], SynchronizationEvent, TRUE);
    CHECK_STATUS(KeWaitForMultipleObjects(2, both, WaitAll, Executive, KernelMode, FALSE, &zero, NULL), STATUS_TIMEOUT);
    CHECK_STATUS(KeWaitForMultipleObjects(2, both, WaitAny, Executive, KernelMode, FALSE, &zero, NULL), STATUS_WAIT_1);
    KeSetEvent(&events[0], 0, FALSE);
    KeSetEvent(&events[1], 0, FALSE);
    CHECK_STATUS(KeWaitForMultipleObjects(2, both, WaitAll, Executive, KernelMode, FALSE, &zero, NULL), STATUS_SUCCESS);
    CHECK(KeReadStateEvent(&events[0]) == 0 && KeReadStateEvent(&events[1]) == 0);
}

static void semaphores_and_mutexes(void)
{
    KSEMAPHORE semaphore;
    KeInitializeSemaphore(&semaphore, 1, 3);
    CHECK_STATUS(wait(&semaphore, 0), STATUS_SUCCESS);
    CHECK_STATUS(wait(&semaphore, 0), STATUS_TIMEOUT);
    CHECK(KeReleaseSemaphore(&semaphore, 0, 2, FALSE) == 0);
    CHECK(KeReadStateSemaphore(&semaphore) == 2);
    KMUTEX mutex;
    KeInitializeMutex(&mutex, 0);
    CHECK_STATUS(wait(&mutex, 0), STATUS_SUCCESS);
    CHECK_STATUS(wait(&mutex, 0), STATUS_SUCCESS);
    CHECK(KeReleaseMutex(&mutex, FALSE) != 0);
    CHECK(KeReleaseMutex(&mutex, FALSE) == 0 || KeReadStateMutex(&mutex) == 1);
    FAST_MUTEX fast;
    ExInitializeFastMutex(&fast);
    ExAcquireFastMutex(&fast);
    CHECK(KeGetCurrentIrql() == APC_LEVEL);
    CHECK(!ExTryToAcquireFastMutex(&fast));
    ExReleaseFastMutex(&fast);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&fast);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    ExReleaseFastMutexUnsafe(&fast);
    KeLeaveCriticalRegion();
}

static volatile LONG timer_runs;

static VOID NTAPI timer_dpc(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL && context == (PVOID)0x77);
    InterlockedIncrement(&timer_runs);
}

static void timers(void)
{
    KTIMER timer;
    KDPC dpc;
    LARGE_INTEGER due = { .QuadPart = MILLISECONDS(10) };
    timer_runs = 0;
    KeInitializeTimer(&timer);
    KeInitializeDpc(&dpc, timer_dpc, (PVOID)0x77);
    CHECK(!KeSetTimer(&timer, due, &dpc));
    CHECK_STATUS(wait(&timer, MILLISECONDS(2000)), STATUS_SUCCESS);
    KeFlushQueuedDpcs();
    CHECK(timer_runs == 1 && !KeCancelTimer(&timer));
    due.QuadPart = MILLISECONDS(60000);
    CHECK(!KeSetTimer(&timer, due, &dpc));
    CHECK(KeSetTimer(&timer, due, &dpc));
    CHECK(KeCancelTimer(&timer));
    CHECK_STATUS(wait(&timer, 0), STATUS_TIMEOUT);
    CHECK(timer_runs == 1);
    KeInitializeTimerEx(&timer, SynchronizationTimer);
    due.QuadPart = MILLISECONDS(5);
    CHECK(!KeSetTimerEx(&timer, due, 10, NULL));
    CHECK_STATUS(wait(&timer, MILLISECONDS(2000)), STATUS_SUCCESS);
    CHECK_STATUS(wait(&timer, MILLISECONDS(2000)), STATUS_SUCCESS);
    KeCancelTimer(&timer);
}

static void time_passes(void)
{
    LARGE_INTEGER frequency, system, tick, later, delay = { .QuadPart = MILLISECONDS(40) };
    LARGE_INTEGER counter = KeQueryPerformanceCounter(&frequency);
    ULONGLONG interrupt = KeQueryInterruptTime();
    KeQuerySystemTime(&system);
    KeQueryTickCount(&tick);
    CHECK_STATUS(KeDelayExecutionThread(KernelMode, FALSE, &delay), STATUS_SUCCESS);
    CHECK(KeQueryInterruptTime() - interrupt >= 300000);
    CHECK(KeQueryPerformanceCounter(NULL).QuadPart > counter.QuadPart && frequency.QuadPart > 0);
    KeQuerySystemTime(&later);
    CHECK(later.QuadPart - system.QuadPart >= 300000);
    KeQueryTickCount(&later);
    CHECK(later.QuadPart > tick.QuadPart && KeQueryTimeIncrement() > 0);

    // The clock goes on while a driver spins at DISPATCH_LEVEL.
    KIRQL old = KeRaiseIrqlToDpcLevel();
    interrupt = KeQueryInterruptTime();
    ULONG rounds = 0;
    while (KeQueryInterruptTime() - interrupt < 300000 && rounds++ < 2000000)
        KeStallExecutionProcessor(1);
    CHECK(KeQueryInterruptTime() - interrupt >= 300000);
    KeLowerIrql(old);
}

static void lists(void)
{
    KSPIN_LOCK lock;
    LIST_ENTRY head, one, two;
    KeInitializeSpinLock(&lock);
    InitializeListHead(&head);
    CHECK(ExInterlockedInsertTailList(&head, &one, &lock) == NULL);
    CHECK(ExInterlockedInsertTailList(&head, &two, &lock) == &one);
    CHECK(ExInterlockedRemoveHeadList(&head, &lock) == &one);
    CHECK(RemoveHeadList(&head) == &two && IsListEmpty(&head));
}

static void rundown(void)
{
    EX_RUNDOWN_REF reference;
    ExInitializeRundownProtection(&reference);
    CHECK(ExAcquireRundownProtection(&reference));
    ExReleaseRundownProtection(&reference);
    ExWaitForRundownProtectionRelease(&reference);
    CHECK(!ExAcquireRundownProtection(&reference));
}

void sync_tests(void)
{
    RUN(inline_irql);
    RUN(spin_locks);
    RUN(queued_spin_locks);
    RUN(events);
    RUN(several_objects);
    RUN(semaphores_and_mutexes);
    RUN(timers);
    RUN(time_passes);
    RUN(lists);
    RUN(rundown);
}
