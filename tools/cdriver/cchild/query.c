// SPDX-License-Identifier: BSD-2-Clause
// IRP_MN_QUERY_INTERFACE: every interface, every version, every size.
#include "child.h"

#define PATTERN 0xCC
#define SLACK 8

typedef struct {
    const char *name;
    const GUID *guid;
    // Whether the bus serves it already. Whoever makes it served changes this.
    BOOLEAN served;
    USHORT min;
    USHORT max;
    USHORT sizes[5];
} ROW;

#define SIZE(name, version) sizeof(struct _##name##_INTERFACE_V##version)
#define INTERFACE_ROW(name, served, ...) \
    { #name, &GUID_##name##_INTERFACE, served, name##_INTERFACE_VERSION_MIN, name##_INTERFACE_VERSION_MAX, { __VA_ARGS__ } }

static const ROW rows[] = {
    INTERFACE_ROW(XENBUS_SUSPEND, TRUE, SIZE(XENBUS_SUSPEND, 1)),
    INTERFACE_ROW(XENBUS_SHARED_INFO, TRUE, SIZE(XENBUS_SHARED_INFO, 2), SIZE(XENBUS_SHARED_INFO, 3), SIZE(XENBUS_SHARED_INFO, 4)),
    INTERFACE_ROW(XENBUS_EVTCHN, TRUE, SIZE(XENBUS_EVTCHN, 5), SIZE(XENBUS_EVTCHN, 6), SIZE(XENBUS_EVTCHN, 7), SIZE(XENBUS_EVTCHN, 8), SIZE(XENBUS_EVTCHN, 9)),
    INTERFACE_ROW(XENBUS_DEBUG, TRUE, SIZE(XENBUS_DEBUG, 1)),
    INTERFACE_ROW(XENBUS_STORE, TRUE, SIZE(XENBUS_STORE, 2)),
    INTERFACE_ROW(XENBUS_RANGE_SET, TRUE, SIZE(XENBUS_RANGE_SET, 1)),
    INTERFACE_ROW(XENBUS_CACHE, TRUE, SIZE(XENBUS_CACHE, 1), SIZE(XENBUS_CACHE, 2)),
    INTERFACE_ROW(XENBUS_GNTTAB, TRUE, SIZE(XENBUS_GNTTAB, 2), SIZE(XENBUS_GNTTAB, 3), SIZE(XENBUS_GNTTAB, 4)),
    INTERFACE_ROW(XENBUS_UNPLUG, TRUE, SIZE(XENBUS_UNPLUG, 1), SIZE(XENBUS_UNPLUG, 2), SIZE(XENBUS_UNPLUG, 3)),
    INTERFACE_ROW(XENBUS_CONSOLE, TRUE, SIZE(XENBUS_CONSOLE, 1)),
    INTERFACE_ROW(XENFILT_EMULATED, FALSE, SIZE(XENFILT_EMULATED, 1), SIZE(XENFILT_EMULATED, 2), SIZE(XENFILT_EMULATED, 3)),
    INTERFACE_ROW(XENBUS_ASYNC_STORE, TRUE, SIZE(XENBUS_ASYNC_STORE, 1)),
};

static UCHAR buffer[256];
static const char *asking;

static NTSTATUS ask_row(const ROW *row, USHORT version, USHORT size, NTSTATUS before)
{
    asking = row->name;
    memset(buffer, PATTERN, sizeof buffer);
    ULONG_PTR information = 1;
    NTSTATUS status = query_raw(row->guid, version, buffer, size, before, &information);
    if (NT_SUCCESS(status))
        CHECK(information == 0);
    return status;
}

static BOOLEAN untouched(ULONG from)
{
    for (ULONG i = from; i < sizeof buffer; i++)
        if (buffer[i] != PATTERN)
            return FALSE;
    return TRUE;
}

#define CHECK_ROW(condition)                                             \
    do {                                                                 \
        if (!(condition)) {                                              \
            DbgPrint("%s version %u\n", row->name, version);             \
            CHECK(condition);                                            \
        }                                                                \
    } while (0)

static void query_gives_each_version_and_no_other(void)
{
    for (ULONG i = 0; i < ARRAYSIZE(rows); i++) {
        const ROW *row = &rows[i];
        for (USHORT version = 0; version <= 12; version++) {
            NTSTATUS status = ask_row(row, version, sizeof buffer, STATUS_NOT_SUPPORTED);
            if (!row->served || version < row->min || version > row->max) {
                CHECK_ROW(status == STATUS_NOT_SUPPORTED);
                CHECK_ROW(untouched(0));
                continue;
            }
            USHORT size = row->sizes[version - row->min];
            INTERFACE *header = (INTERFACE *)buffer;
            CHECK_ROW(status == STATUS_SUCCESS);
            CHECK_ROW(untouched(size));
            CHECK_ROW(header->Size == size && header->Version == version && header->Context != NULL);
            CHECK_ROW(header->InterfaceReference == NULL && header->InterfaceDereference == NULL);
            // Every method is an address in the system half.
            for (PVOID *method = (PVOID *)(header + 1); (UCHAR *)method < buffer + size; method++)
                CHECK_ROW((LONG_PTR)*method < 0);
        }
    }
}

static void query_checks_the_size_after_the_version(void)
{
    for (ULONG i = 0; i < ARRAYSIZE(rows); i++) {
        const ROW *row = &rows[i];
        if (!row->served)
            continue;
        for (USHORT version = row->min; version <= row->max; version++) {
            USHORT size = row->sizes[version - row->min];
            CHECK_ROW(ask_row(row, version, size, STATUS_NOT_SUPPORTED) == STATUS_SUCCESS);
            CHECK_ROW(ask_row(row, version, size - 1, STATUS_NOT_SUPPORTED) == STATUS_BUFFER_OVERFLOW);
            CHECK_ROW(untouched(0));
            CHECK_ROW(ask_row(row, version, 0, STATUS_NOT_SUPPORTED) == STATUS_BUFFER_OVERFLOW);
            CHECK_ROW(ask_row(row, version, size + SLACK, STATUS_NOT_SUPPORTED) == STATUS_SUCCESS);
            CHECK_ROW(((INTERFACE *)buffer)->Size == size && untouched(size));
        }
        USHORT version = row->max + 1;
        CHECK_ROW(ask_row(row, version, 0, STATUS_NOT_SUPPORTED) == STATUS_NOT_SUPPORTED);
    }
}

// What somebody above has decided is left alone.
static void query_that_has_a_status_is_left_alone(void)
{
    for (ULONG i = 0; i < ARRAYSIZE(rows); i++) {
        const ROW *row = &rows[i];
        USHORT version = row->max;
        CHECK_ROW(ask_row(row, version, sizeof buffer, STATUS_UNSUCCESSFUL) == STATUS_UNSUCCESSFUL);
        CHECK_ROW(untouched(0));
    }
}

static void query_of_an_unknown_interface_is_not_supported(void)
{
    static const GUID nobody = { 1, 2, 3, { 4, 5, 6, 7, 8, 9, 10, 11 } };
    // The bus's own, which children do not get.
    static const GUID balloon = { 0xd92aa810, 0xbecb, 0x4bd5, { 0xa3, 0xda, 0xbd, 0x03, 0xc1, 0x35, 0xa2, 0x97 } };
    memset(buffer, PATTERN, sizeof buffer);
    CHECK_STATUS(query_raw(&nobody, 1, buffer, sizeof buffer, STATUS_NOT_SUPPORTED, NULL), STATUS_NOT_SUPPORTED);
    CHECK_STATUS(query_raw(&balloon, 1, buffer, sizeof buffer, STATUS_NOT_SUPPORTED, NULL), STATUS_NOT_SUPPORTED);
    CHECK(untouched(0));
}

static void query_of_the_bus_interface_gives_the_pci_device(void)
{
    static const GUID bus = { 0x496b8280, 0x6f25, 0x11d0, { 0xbe, 0xaf, 0x08, 0x00, 0x2b, 0xe2, 0x09, 0x2f } };
    BUS_INTERFACE_STANDARD pci;
    ULONG id = 0;
    CHECK_STATUS(query_raw(&bus, 1, &pci, sizeof pci - 1, STATUS_NOT_SUPPORTED, NULL), STATUS_BUFFER_TOO_SMALL);
    CHECK_STATUS(query_raw(&bus, 2, &pci, sizeof pci, STATUS_NOT_SUPPORTED, NULL), STATUS_NOT_SUPPORTED);
    NTSTATUS status = query_raw(&bus, 1, &pci, sizeof pci, STATUS_NOT_SUPPORTED, NULL);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (!NT_SUCCESS(status))
        return;
    CHECK(pci.GetBusData(pci.Context, PCI_WHICHSPACE_CONFIG, &id, 0, sizeof id) == sizeof id);
    CHECK((id & 0xFFFF) == 0x5853);
    pci.InterfaceDereference(pci.Context);
}

// A table may be copied, and every copy used; references are counted for all of them.
static void query_and_references_belong_to_no_copy(void)
{
    XENBUS_STORE_INTERFACE first, second;
    PSTR text;
    if (!QUERY(XENBUS_STORE, 2, &first))
        return;
    CHECK_STATUS(XENBUS_STORE(Acquire, &first), STATUS_SUCCESS);
    second = first;
    memset(&first, PATTERN, sizeof first);
    CHECK_STATUS(XENBUS_STORE(Acquire, &second), STATUS_SUCCESS);
    XENBUS_STORE(Release, &second);
    CHECK_STATUS(XENBUS_STORE(Read, &second, NULL, NULL, (PSTR)"name", &text), STATUS_SUCCESS);
    XENBUS_STORE(Free, &second, text);
    XENBUS_STORE(Release, &second);
}

void query_tests(void)
{
    RUN(query_gives_each_version_and_no_other);
    RUN(query_checks_the_size_after_the_version);
    RUN(query_that_has_a_status_is_left_alone);
    RUN(query_of_an_unknown_interface_is_not_supported);
    RUN(query_of_the_bus_interface_gives_the_pci_device);
    RUN(query_and_references_belong_to_no_copy);
}
