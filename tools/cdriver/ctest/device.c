// SPDX-License-Identifier: BSD-2-Clause
// Device objects, names, remove locks, work items.
#include "../test.h"

static void device_objects(void)
{
    PDEVICE_OBJECT lower, upper, top, found;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\CTest"), link = RTL_CONSTANT_STRING(L"\\??\\CTest");
    CHECK_STATUS(IoCreateDevice(driver, 40, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &lower), STATUS_SUCCESS);
    CHECK(lower->Type == IO_TYPE_DEVICE && lower->DriverObject == driver && driver->DeviceObject == lower);
    CHECK(lower->StackSize == 1 && (lower->Flags & DO_DEVICE_INITIALIZING) && lower->DeviceExtension != NULL);
    for (int i = 0; i < 40; i++)
        CHECK(((PUCHAR)lower->DeviceExtension)[i] == 0);
    CHECK_STATUS(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &upper), STATUS_OBJECT_NAME_COLLISION);
    CHECK_STATUS(IoCreateSymbolicLink(&link, &name), STATUS_SUCCESS);
    CHECK_STATUS(IoCreateSymbolicLink(&link, &name), STATUS_OBJECT_NAME_COLLISION);
    PFILE_OBJECT file;
    lower->Flags &= ~DO_DEVICE_INITIALIZING;
    CHECK_STATUS(IoGetDeviceObjectPointer(&link, FILE_READ_DATA, &file, &found), STATUS_SUCCESS);
    CHECK(found == lower);
    ObDereferenceObject(file);
    CHECK_STATUS(IoDeleteSymbolicLink(&link), STATUS_SUCCESS);

    CHECK_STATUS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &upper), STATUS_SUCCESS);
    CHECK(upper->DeviceExtension == NULL && upper->NextDevice == lower);
    CHECK(IoAttachDeviceToDeviceStack(upper, lower) == lower);
    CHECK(upper->StackSize == 2 && lower->AttachedDevice == upper);
    // The one above cannot be attached to while it is initializing.
    CHECK_STATUS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &top), STATUS_SUCCESS);
    CHECK(IoAttachDeviceToDeviceStack(top, lower) == NULL);
    IoDeleteDevice(top);
    upper->Flags &= ~DO_DEVICE_INITIALIZING;
    top = IoGetAttachedDeviceReference(lower);
    CHECK(top == upper);
    ObDereferenceObject(top);
    CHECK(IoGetLowerDeviceObject(upper) == lower);
    ObDereferenceObject(lower);
    IoDetachDevice(lower);
    CHECK(lower->AttachedDevice == NULL);
    IoDeleteDevice(upper);
    // A reference keeps a deleted device's memory.
    ObReferenceObject(lower);
    IoDeleteDevice(lower);
    CHECK(driver->DeviceObject == NULL && lower->Type == IO_TYPE_DEVICE);
    ObDereferenceObject(lower);
}

static KEVENT lock_done;
static IO_REMOVE_LOCK lock;

static VOID NTAPI release_later(PVOID context)
{
    LARGE_INTEGER delay = { .QuadPart = MILLISECONDS(20) };
    KeDelayExecutionThread(KernelMode, FALSE, &delay);
    IoReleaseRemoveLock(&lock, context);
}

static void remove_locks(void)
{
    HANDLE handle;
    PVOID thread;
    IoInitializeRemoveLock(&lock, TAG, 0, 0);
    CHECK_STATUS(IoAcquireRemoveLock(&lock, &lock_done), STATUS_SUCCESS);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    CHECK_STATUS(IoAcquireRemoveLock(&lock, NULL), STATUS_SUCCESS);
    IoReleaseRemoveLock(&lock, NULL);
    KeLowerIrql(old);
    CHECK_STATUS(IoAcquireRemoveLock(&lock, NULL), STATUS_SUCCESS);
    CHECK_STATUS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, release_later, &lock_done), STATUS_SUCCESS);
    CHECK_STATUS(ObReferenceObjectByHandle(handle, SYNCHRONIZE, THREAD_TYPE, KernelMode, &thread, NULL), STATUS_SUCCESS);
    ZwClose(handle);
    IoReleaseRemoveLockAndWait(&lock, NULL);
    CHECK_STATUS(IoAcquireRemoveLock(&lock, NULL), STATUS_DELETE_PENDING);
    KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(thread);
}

static KEVENT worked;
static volatile LONG work_runs;
static PIO_WORKITEM item;

static VOID NTAPI work(PDEVICE_OBJECT device, PVOID context)
{
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && device->DriverObject == driver && context == (PVOID)5);
    // The item may be queued again from its own routine.
    if (InterlockedIncrement(&work_runs) < 3)
        IoQueueWorkItem(item, work, DelayedWorkQueue, context);
    else
        KeSetEvent(&worked, IO_NO_INCREMENT, FALSE);
}

static VOID NTAPI work_ex(PVOID object, PVOID context, PIO_WORKITEM self)
{
    CHECK(((PDEVICE_OBJECT)object)->DriverObject == driver && self == context);
    KeSetEvent(&worked, IO_NO_INCREMENT, FALSE);
}

static void work_items(void)
{
    PDEVICE_OBJECT device;
    CHECK_STATUS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device), STATUS_SUCCESS);
    KeInitializeEvent(&worked, SynchronizationEvent, FALSE);
    work_runs = 0;
    item = IoAllocateWorkItem(device);
    CHECK(item != NULL);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    IoQueueWorkItem(item, work, DelayedWorkQueue, (PVOID)5);
    KeLowerIrql(old);
    KeWaitForSingleObject(&worked, Executive, KernelMode, FALSE, NULL);
    CHECK(work_runs == 3);
    IoFreeWorkItem(item);

    PIO_WORKITEM own = ExAllocatePoolWithTag(NonPagedPoolNx, IoSizeofWorkItem(), TAG);
    CHECK(own != NULL);
    IoInitializeWorkItem(device, own);
    IoQueueWorkItemEx(own, work_ex, DelayedWorkQueue, own);
    KeWaitForSingleObject(&worked, Executive, KernelMode, FALSE, NULL);
    IoUninitializeWorkItem(own);
    ExFreePoolWithTag(own, TAG);
    IoDeleteDevice(device);
}

void device_tests(void)
{
    RUN(device_objects);
    RUN(remove_locks);
    RUN(work_items);
}
