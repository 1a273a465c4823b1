// SPDX-License-Identifier: BSD-2-Clause
// UNPLUG versions 1 to 3: what the methods leave in the registry.
#include "child.h"

#define SERVICES L"\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\"
#define COUNTS SERVICES L"XEN\\Unplug"
#define REQUEST SERVICES L"xenbus_monitor\\Request\\cchild"

static XENBUS_UNPLUG_INTERFACE unplug;

static HANDLE open_key(const WCHAR *path)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    HANDLE key = NULL;
    RtlInitUnicodeString(&name, path);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    return NT_SUCCESS(ZwOpenKey(&key, KEY_ALL_ACCESS, &attributes)) ? key : NULL;
}

// A DWORD, or `missing`.
static ULONG value_of(const WCHAR *path, const WCHAR *value, ULONG missing)
{
    union {
        KEY_VALUE_PARTIAL_INFORMATION info;
        UCHAR bytes[64];
    } buffer;
    UNICODE_STRING name;
    ULONG size;
    HANDLE key = open_key(path);
    if (key == NULL)
        return missing;
    RtlInitUnicodeString(&name, value);
    NTSTATUS status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, &buffer, sizeof buffer, &size);
    ZwClose(key);
    if (!NT_SUCCESS(status) || buffer.info.Type != REG_DWORD || buffer.info.DataLength != sizeof(ULONG))
        return missing;
    memcpy(&size, buffer.info.Data, sizeof size);
    return size;
}

ULONG parameter(const char *name, ULONG missing)
{
    WCHAR wide[32];
    ULONG i;
    for (i = 0; i < ARRAYSIZE(wide) - 1 && name[i] != 0; i++)
        wide[i] = name[i];
    wide[i] = 0;
    return value_of(SERVICES L"cchild\\Parameters", wide, missing);
}

static void unplug_requests_are_counted_in_the_registry(void)
{
    ULONG nics = value_of(COUNTS, L"NICS", 0), disks = value_of(COUNTS, L"DISKS", 0);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_NICS, TRUE);
    CHECK(value_of(COUNTS, L"NICS", 99) == nics + 1);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_NICS, TRUE);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, TRUE);
    CHECK(value_of(COUNTS, L"NICS", 99) == nics + 2);
    CHECK(value_of(COUNTS, L"DISKS", 99) == disks + 1);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_NICS, FALSE);
    CHECK(value_of(COUNTS, L"NICS", 99) == nics + 1);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, FALSE);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_NICS, FALSE);
    CHECK(value_of(COUNTS, L"NICS", 99) == nics && value_of(COUNTS, L"DISKS", 99) == disks);
}

static void unplug_counts_do_not_go_below_zero(void)
{
    CHECK(value_of(COUNTS, L"DISKS", 0) == 0);
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, FALSE);
    CHECK(value_of(COUNTS, L"DISKS", 0) == 0);
    // Unknown types are nobody's.
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_INVALID, TRUE);
    XENBUS_UNPLUG(Request, &unplug, 3, TRUE);
    CHECK(value_of(COUNTS, L"DISKS", 0) == 0 && value_of(COUNTS, L"NICS", 0) == 0);
}

// Whoever wrote the registry says what to expect.
static void unplug_tells_what_this_boot_was_asked_for(void)
{
    BOOLEAN nics = parameter("Nics", 0) != 0;
    CHECK(XENBUS_UNPLUG(IsRequested, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_NICS) == nics);
    CHECK(!XENBUS_UNPLUG(IsRequested, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS));
    CHECK(!XENBUS_UNPLUG(IsRequested, &unplug, 77));
    // One more for the next boot changes nothing in this one.
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, TRUE);
    CHECK(!XENBUS_UNPLUG(IsRequested, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS));
    XENBUS_UNPLUG(Request, &unplug, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, FALSE);
    CHECK(XENBUS_UNPLUG(BootEmulated, &unplug) == (parameter("BootEmulated", 0) != 0));
}

static void unplug_leaves_the_monitor_a_request_to_reboot(void)
{
    // The key comes with the monitor service; without it nothing happens.
    BOOLEAN monitor = parameter("Monitor", 0) != 0;
    CHECK(value_of(REQUEST, L"Reboot", 0) == 0);
    XENBUS_UNPLUG(Reboot, &unplug, (PSTR)"cchild");
    CHECK(value_of(REQUEST, L"Reboot", 0) == monitor);
    HANDLE key = open_key(REQUEST);
    CHECK((key != NULL) == monitor);
    if (key != NULL) {
        CHECK_STATUS(ZwDeleteKey(key), STATUS_SUCCESS);
        ZwClose(key);
    }
}

#define OLD(version)                                                                    \
    do {                                                                                \
        struct _XENBUS_UNPLUG_INTERFACE_V##version old;                                 \
        if (!QUERY(XENBUS_UNPLUG, version, &old))                                       \
            break;                                                                      \
        CHECK_STATUS(XENBUS_UNPLUG(Acquire, &old), STATUS_SUCCESS);                     \
        XENBUS_UNPLUG(Request, &old, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, TRUE);            \
        CHECK(value_of(COUNTS, L"DISKS", 0) == 1);                                      \
        XENBUS_UNPLUG(Request, &old, XENBUS_UNPLUG_DEVICE_TYPE_DISKS, FALSE);           \
        CHECK(value_of(COUNTS, L"DISKS", 99) == 0);                                     \
        XENBUS_UNPLUG(Release, &old);                                                   \
    } while (0)

static void unplug_of_every_version_counts(void)
{
    OLD(1);
    OLD(2);
    OLD(3);
}

void unplug_tests(void)
{
    if (!QUERY(XENBUS_UNPLUG, XENBUS_UNPLUG_INTERFACE_VERSION_MAX, &unplug) || !NT_SUCCESS(XENBUS_UNPLUG(Acquire, &unplug))) {
        DbgPrint("TEST unplug FAIL not acquired\n");
        return;
    }
    RUN(unplug_requests_are_counted_in_the_registry);
    RUN(unplug_counts_do_not_go_below_zero);
    RUN(unplug_tells_what_this_boot_was_asked_for);
    RUN(unplug_leaves_the_monitor_a_request_to_reboot);
    RUN(unplug_of_every_version_counts);
    XENBUS_UNPLUG(Release, &unplug);
}
