// SPDX-License-Identifier: BSD-2-Clause
// A deliberately wrong driver: DriverEntry runs WRONG's body, which breaks one rule of the test kernel. What must be
// caught at unload is left behind by the body.
#pragma once

#include "../test.h"

#define WRONG                                                         \
    static void wrong(void);                                          \
    PDRIVER_OBJECT driver;                                            \
    static VOID NTAPI unload(PDRIVER_OBJECT object)                   \
    {                                                                 \
        UNREFERENCED_PARAMETER(object);                               \
    }                                                                 \
    NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object, PUNICODE_STRING path) \
    {                                                                 \
        UNREFERENCED_PARAMETER(path);                                 \
        driver = object;                                              \
        object->DriverUnload = unload;                                \
        wrong();                                                      \
        return STATUS_SUCCESS;                                        \
    }                                                                 \
    static void wrong(void)

static inline PVOID block(SIZE_T size)
{
    PVOID memory = ExAllocatePoolWithTag(NonPagedPoolNx, size, TAG);
    memset(memory, 0, size);
    return memory;
}

static inline PDEVICE_OBJECT new_device(void)
{
    PDEVICE_OBJECT device;
    IoCreateDevice(driver, 64, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return device;
}

static inline HANDLE start(PKSTART_ROUTINE routine, PVOID context)
{
    HANDLE handle;
    PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, routine, context);
    return handle;
}

static inline void pause(LONG milliseconds)
{
    LARGE_INTEGER delay = { .QuadPart = MILLISECONDS(milliseconds) };
    KeDelayExecutionThread(KernelMode, FALSE, &delay);
}

// An export that the DDK replaces by an inline function.
static inline PVOID export(const WCHAR *name)
{
    UNICODE_STRING string;
    RtlInitUnicodeString(&string, name);
    return MmGetSystemRoutineAddress(&string);
}

static inline PMDL pages(SIZE_T size)
{
    PHYSICAL_ADDRESS low = { .QuadPart = 0 }, high = { .QuadPart = ~0ull >> 1 }, skip = { .QuadPart = 0 };
    return MmAllocatePagesForMdlEx(low, high, skip, size, MmCached, MM_ALLOCATE_FULLY_REQUIRED);
}
