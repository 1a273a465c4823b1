// SPDX-License-Identifier: BSD-2-Clause
// The registry: exact statuses, size probes, enumeration.
#include "../test.h"

#define SERVICE L"\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\ctest"

static NTSTATUS open(HANDLE *key, HANDLE root, const WCHAR *name)
{
    UNICODE_STRING string;
    OBJECT_ATTRIBUTES attributes;
    RtlInitUnicodeString(&string, name);
    InitializeObjectAttributes(&attributes, &string, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, root, NULL);
    return ZwOpenKey(key, KEY_ALL_ACCESS, &attributes);
}

static NTSTATUS create(HANDLE *key, HANDLE root, const WCHAR *name, ULONG options, ULONG *how)
{
    UNICODE_STRING string;
    OBJECT_ATTRIBUTES attributes;
    RtlInitUnicodeString(&string, name);
    InitializeObjectAttributes(&attributes, &string, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, root, NULL);
    return ZwCreateKey(key, KEY_ALL_ACCESS, &attributes, 0, NULL, options, how);
}

static void keys(void)
{
    HANDLE service, key, child;
    ULONG how = 0;
    CHECK_STATUS(open(&service, NULL, SERVICE), STATUS_SUCCESS);
    CHECK_STATUS(open(&key, service, L"None"), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(open(&key, NULL, SERVICE L"\\None\\Deeper"), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(create(&key, service, L"Memory", REG_OPTION_VOLATILE, &how), STATUS_SUCCESS);
    CHECK(how == REG_CREATED_NEW_KEY);
    CHECK_STATUS(create(&child, key, L"Stable", REG_OPTION_NON_VOLATILE, NULL), STATUS_CHILD_MUST_BE_VOLATILE);
    CHECK_STATUS(create(&child, key, L"Sub", REG_OPTION_VOLATILE, &how), STATUS_SUCCESS);
    CHECK_STATUS(ZwDeleteKey(key), STATUS_CANNOT_DELETE);
    CHECK_STATUS(ZwDeleteKey(child), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(child), STATUS_SUCCESS);
    CHECK_STATUS(ZwFlushKey(key), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(key), STATUS_SUCCESS);
    CHECK_STATUS(create(&key, service, L"MEMORY", 0, &how), STATUS_SUCCESS);
    CHECK(how == REG_OPENED_EXISTING_KEY);
    CHECK_STATUS(ZwDeleteKey(key), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(key), STATUS_SUCCESS);
    CHECK_STATUS(ZwClose(service), STATUS_SUCCESS);
}

static void values(void)
{
    HANDLE key;
    UCHAR buffer[64];
    ULONG size = 0;
    PKEY_VALUE_PARTIAL_INFORMATION info = (PVOID)buffer;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Value"), other = RTL_CONSTANT_STRING(L"VALUE");
    CHECK_STATUS(create(&key, NULL, SERVICE L"\\Values", 0, NULL), STATUS_SUCCESS);
    CHECK_STATUS(ZwQueryValueKey(key, &name, KeyValuePartialInformation, NULL, 0, &size), STATUS_OBJECT_NAME_NOT_FOUND);
    ULONG number = 0x12345678;
    CHECK_STATUS(ZwSetValueKey(key, &name, 0, REG_DWORD, &number, sizeof number), STATUS_SUCCESS);
    CHECK_STATUS(ZwQueryValueKey(key, &other, KeyValuePartialInformation, NULL, 0, &size), STATUS_BUFFER_TOO_SMALL);
    CHECK(size == 16);
    CHECK_STATUS(ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, 14, &size), STATUS_BUFFER_OVERFLOW);
    CHECK_STATUS(ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, sizeof buffer, &size), STATUS_SUCCESS);
    CHECK(info->Type == REG_DWORD && info->DataLength == 4 && *(ULONG *)info->Data == number);
    CHECK_STATUS(ZwSetValueKey(key, &name, 0, REG_MULTI_SZ, L"a\0b\0", 10), STATUS_SUCCESS);
    CHECK_STATUS(ZwEnumerateValueKey(key, 0, KeyValueBasicInformation, buffer, sizeof buffer, &size), STATUS_SUCCESS);
    CHECK(((PKEY_VALUE_BASIC_INFORMATION)buffer)->NameLength == 10);
    CHECK(((PKEY_VALUE_BASIC_INFORMATION)buffer)->Type == REG_MULTI_SZ);
    CHECK_STATUS(ZwEnumerateValueKey(key, 1, KeyValueBasicInformation, buffer, sizeof buffer, &size), STATUS_NO_MORE_ENTRIES);
    CHECK_STATUS(ZwDeleteValueKey(key, &name), STATUS_SUCCESS);
    CHECK_STATUS(ZwDeleteValueKey(key, &name), STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK_STATUS(ZwDeleteKey(key), STATUS_SUCCESS);
    CHECK_STATUS(ZwSetValueKey(key, &name, 0, REG_DWORD, &number, sizeof number), STATUS_KEY_DELETED);
    ZwClose(key);
}

static void enumeration(void)
{
    HANDLE key, child;
    ULONG size = 0;
    UCHAR buffer[128];
    CHECK_STATUS(create(&key, NULL, SERVICE L"\\List", 0, NULL), STATUS_SUCCESS);
    static const WCHAR *const names[] = { L"zeta", L"Beta", L"alpha" };
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(create(&child, key, names[i], 0, NULL), STATUS_SUCCESS);
        ZwClose(child);
    }
    CHECK_STATUS(ZwQueryKey(key, KeyFullInformation, NULL, 0, &size), STATUS_BUFFER_TOO_SMALL);
    CHECK(size >= 0x2c && size <= sizeof buffer);
    CHECK_STATUS(ZwQueryKey(key, KeyFullInformation, buffer, sizeof buffer, &size), STATUS_SUCCESS);
    PKEY_FULL_INFORMATION full = (PVOID)buffer;
    CHECK(full->SubKeys == 3 && full->MaxNameLen == 10 && full->Values == 0);
    PKEY_BASIC_INFORMATION basic = (PVOID)buffer;
    CHECK_STATUS(ZwEnumerateKey(key, 1, KeyBasicInformation, buffer, sizeof buffer, &size), STATUS_SUCCESS);
    CHECK(basic->NameLength == 8 && memcmp(basic->Name, L"Beta", 8) == 0);
    CHECK_STATUS(ZwEnumerateKey(key, 3, KeyBasicInformation, buffer, sizeof buffer, &size), STATUS_NO_MORE_ENTRIES);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(open(&child, key, names[i]), STATUS_SUCCESS);
        CHECK_STATUS(ZwDeleteKey(child), STATUS_SUCCESS);
        ZwClose(child);
    }
    CHECK_STATUS(ZwDeleteKey(key), STATUS_SUCCESS);
    ZwClose(key);
}

void registry_tests(void)
{
    RUN(keys);
    RUN(values);
    RUN(enumeration);
}
