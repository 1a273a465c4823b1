// SPDX-License-Identifier: BSD-2-Clause
// IRPs through a stack of two devices of ours: the inline macros, completion, pending, cancellation.
#include "../test.h"

enum { FINISH = 1, PEND, PASS, CATCH };

static PDEVICE_OBJECT lower, upper;
static PIRP pended;
static volatile LONG routines, saw_pending;
static KEVENT caught;

static NTSTATUS NTAPI note(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
    CHECK(context == (PVOID)0x33 && device == upper);
    InterlockedIncrement(&routines);
    if (irp->PendingReturned) {
        saw_pending++;
        IoMarkIrpPending(irp);
    }
    return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS NTAPI catch(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(irp);
    KeSetEvent(context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS finish(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

// The minor code says what to do: FINISH and PEND are for the lower device, PASS and CATCH for the upper one.
static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    CHECK(location->DeviceObject == device);
    ULONG code = location->Parameters.DeviceIoControl.IoControlCode >> 2 & 15;
    if (device == lower) {
        if (code == PEND) {
            IoMarkIrpPending(irp);
            pended = irp;
            return STATUS_PENDING;
        }
        return finish(irp, code == FINISH ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0x55);
    }
    if (code == CATCH) {
        IoCopyCurrentIrpStackLocationToNext(irp);
        IoSetCompletionRoutine(irp, catch, &caught, TRUE, TRUE, TRUE);
        IoCallDriver(lower, irp);
        KeWaitForSingleObject(&caught, Executive, KernelMode, FALSE, NULL);
        return finish(irp, STATUS_SUCCESS, irp->IoStatus.Information + 1);
    }
    if (code == PASS) {
        IoSkipCurrentIrpStackLocation(irp);
        return IoCallDriver(lower, irp);
    }
    IoCopyCurrentIrpStackLocationToNext(irp);
    CHECK(IoGetNextIrpStackLocation(irp)->Control == 0);
    IoSetCompletionRoutine(irp, note, (PVOID)0x33, TRUE, TRUE, TRUE);
    return IoCallDriver(lower, irp);
}

static PIRP control(ULONG code, PKEVENT event, PIO_STATUS_BLOCK status)
{
    KeInitializeEvent(event, NotificationEvent, FALSE);
    status->Status = 0x7777;
    return IoBuildDeviceIoControlRequest(CTL_CODE(FILE_DEVICE_UNKNOWN, code, METHOD_BUFFERED, 0), upper,
                                         NULL, 0, NULL, 0, FALSE, event, status);
}

static void inline_completion(void)
{
    KEVENT event;
    IO_STATUS_BLOCK status;
    routines = saw_pending = 0;
    PIRP irp = control(FINISH, &event, &status);
    CHECK(irp != NULL && irp->StackCount == 2 && irp->CurrentLocation == 3);
    CHECK_STATUS(IoCallDriver(upper, irp), STATUS_SUCCESS);
    CHECK(routines == 1 && saw_pending == 0);
    CHECK(status.Status == STATUS_SUCCESS && status.Information == 0x55 && KeReadStateEvent(&event) != 0);
}

static void pending_completion(void)
{
    KEVENT event;
    IO_STATUS_BLOCK status;
    routines = saw_pending = 0;
    CHECK_STATUS(IoCallDriver(upper, control(PEND, &event, &status)), STATUS_PENDING);
    CHECK(routines == 0 && KeReadStateEvent(&event) == 0);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    finish(pended, STATUS_DEVICE_BUSY, 0);
    KeLowerIrql(old);
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    CHECK(routines == 1 && saw_pending == 1 && status.Status == STATUS_DEVICE_BUSY);
}

static void more_processing(void)
{
    KEVENT event;
    IO_STATUS_BLOCK status;
    KeInitializeEvent(&caught, SynchronizationEvent, FALSE);
    CHECK_STATUS(IoCallDriver(upper, control(CATCH, &event, &status)), STATUS_SUCCESS);
    CHECK(status.Information == 0x56);
    CHECK_STATUS(IoCallDriver(upper, control(PASS, &event, &status)), STATUS_UNSUCCESSFUL);
}

static NTSTATUS NTAPI mine(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
    UNREFERENCED_PARAMETER(irp);
    CHECK(device == NULL);
    KeSetEvent(context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static PIRP allocate(ULONG code, PKEVENT event)
{
    PIRP irp = IoAllocateIrp(upper->StackSize, FALSE);
    CHECK(irp != NULL);
    PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
    location->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    location->Parameters.DeviceIoControl.IoControlCode = code << 2;
    KeInitializeEvent(event, NotificationEvent, FALSE);
    IoSetCompletionRoutine(irp, mine, event, TRUE, TRUE, TRUE);
    return irp;
}

static void own_irps(void)
{
    KEVENT event;
    PIRP irp = allocate(FINISH, &event);
    CHECK_STATUS(IoCallDriver(upper, irp), STATUS_SUCCESS);
    CHECK(KeReadStateEvent(&event) != 0 && irp->IoStatus.Information == 0x55);
    IoReuseIrp(irp, STATUS_NOT_SUPPORTED);
    CHECK(irp->CurrentLocation == irp->StackCount + 1 && irp->IoStatus.Status == STATUS_NOT_SUPPORTED);
    IoFreeIrp(irp);
}

static VOID NTAPI cancel(PDEVICE_OBJECT device, PIRP irp)
{
    CHECK(device == lower && irp == pended && KeGetCurrentIrql() == DISPATCH_LEVEL);
    IoReleaseCancelSpinLock(irp->CancelIrql);
    finish(irp, STATUS_CANCELLED, 0);
}

static void cancellation(void)
{
    KEVENT event;
    PIRP irp = allocate(PEND, &event);
    CHECK_STATUS(IoCallDriver(upper, irp), STATUS_PENDING);
    CHECK(IoSetCancelRoutine(irp, cancel) == NULL);
    CHECK(IoCancelIrp(irp));
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    CHECK(irp->IoStatus.Status == STATUS_CANCELLED && irp->Cancel);
    IoFreeIrp(irp);

    irp = allocate(PEND, &event);
    CHECK_STATUS(IoCallDriver(upper, irp), STATUS_PENDING);
    CHECK(!IoCancelIrp(irp) && irp->Cancel);
    finish(irp, STATUS_CANCELLED, 0);
    CHECK(KeReadStateEvent(&event) != 0);
    IoFreeIrp(irp);
}

static void unhandled_requests_are_refused(void)
{
    KEVENT event;
    IO_STATUS_BLOCK status;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, upper, NULL, 0, NULL, &event, &status);
    CHECK(irp != NULL);
    CHECK_STATUS(IoCallDriver(upper, irp), STATUS_INVALID_DEVICE_REQUEST);
}

void irp_tests(void)
{
    PDRIVER_DISPATCH old = driver->MajorFunction[IRP_MJ_DEVICE_CONTROL];
    CHECK(old != NULL);
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatch;
    CHECK_STATUS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &lower), STATUS_SUCCESS);
    lower->Flags &= ~DO_DEVICE_INITIALIZING;
    CHECK_STATUS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &upper), STATUS_SUCCESS);
    CHECK(IoAttachDeviceToDeviceStack(upper, lower) == lower);
    upper->Flags &= ~DO_DEVICE_INITIALIZING;
    RUN(inline_completion);
    RUN(pending_completion);
    RUN(more_processing);
    RUN(own_irps);
    RUN(cancellation);
    RUN(unhandled_requests_are_refused);
    IoDetachDevice(lower);
    IoDeleteDevice(upper);
    IoDeleteDevice(lower);
}
