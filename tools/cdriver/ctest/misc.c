// SPDX-License-Identifier: BSD-2-Clause
// Callbacks, notifications, module list, names looked up at run time, interrupts.
#include "../test.h"

static void system_routines(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"KeSetEvent"), none = RTL_CONSTANT_STRING(L"NoSuchExport");
    LONG(NTAPI * set)(PKEVENT, KPRIORITY, BOOLEAN) = MmGetSystemRoutineAddress(&name);
    CHECK(set != NULL && MmGetSystemRoutineAddress(&none) == NULL);
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    CHECK(set(&event, 0, FALSE) == 0 && KeReadStateEvent(&event) != 0);
}

static void module_list(void)
{
    ULONG size = 0;
    CHECK_STATUS(ZwQuerySystemInformation(11, NULL, 0, &size), STATUS_INFO_LENGTH_MISMATCH);
    CHECK(size > 0x128);
    PUCHAR list = ExAllocatePoolWithTag(PagedPool, size, TAG);
    CHECK(list != NULL);
    CHECK_STATUS(ZwQuerySystemInformation(11, list, size, &size), STATUS_SUCCESS);
    BOOLEAN found = FALSE;
    for (ULONG i = 0; i < *(ULONG *)list; i++)
        found |= *(PVOID *)(list + 8 + i * 0x128 + 0x10) == driver->DriverStart;
    CHECK(found);
    ExFreePoolWithTag(list, TAG);
}

// The helper library's way to the module list: elements of 0x110 bytes, base first.
static void module_information(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"RtlQueryModuleInformation");
    NTSTATUS(NTAPI * query)(PULONG, ULONG, PVOID) = MmGetSystemRoutineAddress(&name);
    ULONG size = 0;
    CHECK(query != NULL);
    CHECK_STATUS(query(&size, 0x110, NULL), STATUS_SUCCESS);
    CHECK(size >= 2 * 0x110 && size % 0x110 == 0);
    PUCHAR list = ExAllocatePoolWithTag(PagedPool, size, TAG);
    CHECK(list != NULL);
    CHECK_STATUS(query(&size, 0x110, list), STATUS_SUCCESS);
    CHECK(*(PVOID *)list != NULL && *(ULONG *)(list + 8) != 0);
    ExFreePoolWithTag(list, TAG);
}

// Newer than Windows 10 1607: there only when the run says so.
static void newer_exports(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"IoOpenDriverRegistryKey");
    NTSTATUS(NTAPI * open)(PDRIVER_OBJECT, ULONG, ULONG, ULONG, HANDLE *) = MmGetSystemRoutineAddress(&name);
    HANDLE key;
    if (open == NULL)
        return;
    CHECK_STATUS(open(driver, 0, KEY_READ, 0, &key), STATUS_SUCCESS);
    ZwClose(key);
}

static volatile LONG notified;

static VOID NTAPI power_state(PVOID context, PVOID first, PVOID second)
{
    CHECK(context == (PVOID)3);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
    notified++;
}

static void callbacks(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\PowerState");
    OBJECT_ATTRIBUTES attributes;
    PCALLBACK_OBJECT object;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_PERMANENT, NULL, NULL);
    CHECK_STATUS(ExCreateCallback(&object, &attributes, TRUE, TRUE), STATUS_SUCCESS);
    PVOID handle = ExRegisterCallback(object, power_state, (PVOID)3);
    CHECK(handle != NULL);
    ExUnregisterCallback(handle);
    ObDereferenceObject(object);
}

static VOID NTAPI image_loaded(PUNICODE_STRING name, HANDLE process, PIMAGE_INFO info)
{
    UNREFERENCED_PARAMETER(name);
    UNREFERENCED_PARAMETER(process);
    UNREFERENCED_PARAMETER(info);
}

static VOID NTAPI process_changed(HANDLE parent, HANDLE process, BOOLEAN create)
{
    UNREFERENCED_PARAMETER(parent);
    UNREFERENCED_PARAMETER(process);
    UNREFERENCED_PARAMETER(create);
}

static void notifications(void)
{
    CHECK_STATUS(PsSetLoadImageNotifyRoutine(image_loaded), STATUS_SUCCESS);
    CHECK_STATUS(PsRemoveLoadImageNotifyRoutine(image_loaded), STATUS_SUCCESS);
    CHECK_STATUS(PsSetCreateProcessNotifyRoutine(process_changed, FALSE), STATUS_SUCCESS);
    CHECK_STATUS(PsSetCreateProcessNotifyRoutine(process_changed, TRUE), STATUS_SUCCESS);
}

static VOID NTAPI bug_check(PVOID buffer, ULONG length)
{
    UNREFERENCED_PARAMETER(buffer);
    UNREFERENCED_PARAMETER(length);
}

static void bug_check_records(void)
{
    static KBUGCHECK_CALLBACK_RECORD storage;
    PKBUGCHECK_CALLBACK_RECORD record = &storage;
    KeInitializeCallbackRecord(record);
    CHECK(KeRegisterBugCheckCallback(record, bug_check, NULL, 0, (PUCHAR)"ctest"));
    CHECK(!KeRegisterBugCheckCallback(record, bug_check, NULL, 0, (PUCHAR)"ctest"));
    CHECK(KeDeregisterBugCheckCallback(record));
    CHECK(!KeDeregisterBugCheckCallback(record));
    CHECK(KiBugCheckData[0] == 0 && InitSafeBootMode == 0);
}

static void notification_events(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\KernelObjects\\LowMemoryCondition");
    HANDLE handle = NULL;
    LARGE_INTEGER zero = { .QuadPart = 0 };
    PKEVENT event = IoCreateNotificationEvent(&name, &handle);
    CHECK(event != NULL && handle != NULL);
    CHECK_STATUS(KeWaitForSingleObject(event, Executive, KernelMode, FALSE, &zero), STATUS_TIMEOUT);
    CHECK_STATUS(ZwClose(handle), STATUS_SUCCESS);
}

static VOID print_seen(PVOID string, ULONG component, ULONG level)
{
    PANSI_STRING text = string;
    if (component == DPFLTR_IHVDRIVER_ID && level == DPFLTR_WARNING_LEVEL && text->Length == 7)
        InterlockedIncrement(&notified);
}

static void print_with(const char *prefix, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CHECK_STATUS(vDbgPrintExWithPrefix(prefix, DPFLTR_IHVDRIVER_ID, DPFLTR_WARNING_LEVEL, format, args), STATUS_SUCCESS);
    va_end(args);
}

static void print_callbacks(void)
{
    notified = 0;
    CHECK_STATUS(DbgSetDebugPrintCallback((PDEBUG_PRINT_CALLBACK)print_seen, TRUE), STATUS_SUCCESS);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    print_with("c:", "%d %s\n", 12, "x");
    KeLowerIrql(old);
    CHECK_STATUS(DbgSetDebugPrintCallback((PDEBUG_PRINT_CALLBACK)print_seen, FALSE), STATUS_SUCCESS);
    print_with("c:", "%d %s\n", 12, "x");
    CHECK(notified == 1);
}

static BOOLEAN NTAPI service(PKINTERRUPT interrupt, PVOID context)
{
    UNREFERENCED_PARAMETER(interrupt);
    UNREFERENCED_PARAMETER(context);
    return FALSE;
}

static void interrupt_objects(void)
{
    PKINTERRUPT interrupt = NULL;
    IO_CONNECT_INTERRUPT_PARAMETERS connect = { .Version = CONNECT_FULLY_SPECIFIED };
    connect.FullySpecified.InterruptObject = &interrupt;
    connect.FullySpecified.ServiceRoutine = service;
    connect.FullySpecified.SynchronizeIrql = 0xb;
    connect.FullySpecified.Vector = 0xb7;
    connect.FullySpecified.Irql = 0xb;
    connect.FullySpecified.InterruptMode = Latched;
    connect.FullySpecified.ProcessorEnableMask = 1;
    CHECK_STATUS(IoConnectInterruptEx(&connect), STATUS_SUCCESS);
    CHECK(interrupt != NULL);
    KIRQL old = KeAcquireInterruptSpinLock(interrupt);
    CHECK(old == PASSIVE_LEVEL && KeGetCurrentIrql() == 0xb);
    KeReleaseInterruptSpinLock(interrupt, old);
    IO_DISCONNECT_INTERRUPT_PARAMETERS disconnect = { .Version = CONNECT_FULLY_SPECIFIED };
    disconnect.ConnectionContext.InterruptObject = interrupt;
    IoDisconnectInterruptEx(&disconnect);
}

void misc_tests(void)
{
    RUN(system_routines);
    RUN(module_list);
    RUN(module_information);
    RUN(newer_exports);
    RUN(callbacks);
    RUN(notifications);
    RUN(bug_check_records);
    RUN(notification_events);
    RUN(print_callbacks);
    RUN(interrupt_objects);
}
