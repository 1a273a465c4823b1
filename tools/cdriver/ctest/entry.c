// SPDX-License-Identifier: BSD-2-Clause
// A plain driver that calls the kernel's exports the way a C driver does and checks what they do.
#include "../test.h"

void rtl_tests(void);
void registry_tests(void);
void pool_tests(void);
void sync_tests(void);
void dpc_tests(void);
void thread_tests(void);
void mm_tests(void);
void device_tests(void);
void irp_tests(void);
void misc_tests(void);

static VOID NTAPI unload(PDRIVER_OBJECT object)
{
    CHECK(object == driver);
    DbgPrint("TEST unload ok\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING path)
{
    driver = object;
    CHECK(object->Type == IO_TYPE_DRIVER);
    CHECK(object->Size == sizeof(*object));
    CHECK(object->DriverStart != NULL && object->DriverSize >= 0x1000);
    CHECK(object->DriverExtension->DriverObject == object);
    CHECK(path->Length > 40 && path->Buffer[0] == L'\\');
    object->DriverUnload = unload;

    rtl_tests();
    registry_tests();
    pool_tests();
    sync_tests();
    dpc_tests();
    thread_tests();
    mm_tests();
    device_tests();
    irp_tests();
    misc_tests();
    DbgPrint("TEST entry %s\n", failures == 0 ? "ok" : "FAIL see above");
    DbgPrint("RESULT ctest.failures %d\n", failures);
    return STATUS_SUCCESS;
}
