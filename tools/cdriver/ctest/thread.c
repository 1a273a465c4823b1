// SPDX-License-Identifier: BSD-2-Clause
// System threads: start, identity, hand-over through events, affinity, end.
#include "../test.h"

static KEVENT ping, pong;
static volatile LONG bounced;
static volatile PVOID thread_pointer;

static VOID NTAPI bounce(PVOID context)
{
    LONG rounds = (LONG)(LONG_PTR)context;
    thread_pointer = KeGetCurrentThread();
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    for (LONG i = 0; i < rounds; i++) {
        KeWaitForSingleObject(&ping, Executive, KernelMode, FALSE, NULL);
        bounced++;
        KeSetEvent(&pong, IO_NO_INCREMENT, FALSE);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static void threads_bounce(void)
{
    HANDLE handle;
    PVOID thread;
    KeInitializeEvent(&ping, SynchronizationEvent, FALSE);
    KeInitializeEvent(&pong, SynchronizationEvent, FALSE);
    bounced = 0;
    CHECK_STATUS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, bounce, (PVOID)200), STATUS_SUCCESS);
    CHECK_STATUS(ObReferenceObjectByHandle(handle, SYNCHRONIZE, THREAD_TYPE, KernelMode, &thread, NULL), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(handle), STATUS_SUCCESS);
    for (int i = 0; i < 200; i++) {
        KeSetEvent(&ping, IO_NO_INCREMENT, FALSE);
        KeWaitForSingleObject(&pong, Executive, KernelMode, FALSE, NULL);
    }
    CHECK_STATUS(KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    CHECK(bounced == 200 && thread_pointer == thread && thread != (PVOID)KeGetCurrentThread());
    ObReferenceObject(thread);
    ObDereferenceObject(thread);
    ObDereferenceObject(thread);
}

static volatile LONG spun;

// Returning ends a thread as well.
static VOID NTAPI spin(PVOID context)
{
    volatile LONG *stop = context;
    while (*stop == 0)
        spun++;
}

static void a_spinning_thread_is_preempted(void)
{
    HANDLE handle;
    PVOID thread;
    static volatile LONG stop;
    LARGE_INTEGER delay = { .QuadPart = MILLISECONDS(30) };
    stop = spun = 0;
    CHECK_STATUS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, spin, (PVOID)&stop), STATUS_SUCCESS);
    CHECK_STATUS(ObReferenceObjectByHandle(handle, SYNCHRONIZE, NULL, KernelMode, &thread, NULL), STATUS_SUCCESS);
    ZwClose(handle);
    for (int i = 0; i < 100 && spun == 0; i++)
        KeDelayExecutionThread(KernelMode, FALSE, &delay);
    CHECK(spun != 0);
    stop = 1;
    CHECK_STATUS(KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObDereferenceObject(thread);
}

static void affinity_moves_the_thread(void)
{
    ULONG active = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    GROUP_AFFINITY before;
    for (ULONG cpu = 0; cpu < active; cpu++) {
        GROUP_AFFINITY affinity = { .Mask = (KAFFINITY)1 << cpu };
        KeSetSystemGroupAffinityThread(&affinity, cpu == 0 ? &before : NULL);
        CHECK(KeGetCurrentProcessorNumberEx(NULL) == cpu);
    }
    KeRevertToUserGroupAffinityThread(&before);
    KPRIORITY old = KeSetPriorityThread(KeGetCurrentThread(), LOW_PRIORITY);
    LARGE_INTEGER delay = { .QuadPart = MILLISECONDS(1) };
    CHECK_STATUS(KeDelayExecutionThread(KernelMode, FALSE, &delay), STATUS_SUCCESS);
    KeSetPriorityThread(KeGetCurrentThread(), old);
}

void thread_tests(void)
{
    RUN(threads_bounce);
    RUN(a_spinning_thread_is_preempted);
    RUN(affinity_moves_the_thread);
}
