// SPDX-License-Identifier: BSD-2-Clause
// Shared by the C drivers: the DDK's own header, checks, and the few exports that the DDK does not declare.
//
// A test is a function `void name(void)` made of CHECKs. RUN prints `TEST name ok` or `TEST name FAIL file:line condition`.
#pragma once

#include <ntddk.h>
#include <stdarg.h>

extern volatile LONG failures;
extern PDRIVER_OBJECT driver;

void check_failed(const char *file, int line, const char *condition);
void run_test(const char *name, void (*test)(void));

#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition))                                             \
            check_failed(__FILE_NAME__, __LINE__, #condition);        \
    } while (0)

#define CHECK_STATUS(call, expected)                                  \
    do {                                                              \
        NTSTATUS got_ = (call);                                       \
        if (got_ != (NTSTATUS)(expected)) {                           \
            DbgPrint("status %08x instead of %08x\n", got_, (NTSTATUS)(expected)); \
            check_failed(__FILE_NAME__, __LINE__, #call);             \
        }                                                             \
    } while (0)

#define RUN(test) run_test(#test, test)
#define TAG 'tseT'
#define MILLISECONDS(n) (-10000LL * (n))

// Newer than the DDK.
#ifndef MdlMappingNoExecute
#define MdlMappingNoExecute 0x40000000
#endif

// mingw-w64 declares the variable as imported, which adds the dereference that the real header leaves to the caller.
#define THREAD_TYPE ((POBJECT_TYPE)PsThreadType)

// Exports without a declaration in the DDK.
NTSYSAPI ULONG NTAPI RtlRandomEx(PULONG seed);
NTSYSAPI USHORT NTAPI RtlCaptureStackBackTrace(ULONG skip, ULONG count, PVOID *frames, PULONG hash);
NTSYSAPI VOID NTAPI RtlCaptureContext(PVOID context);
NTSYSAPI PVOID NTAPI RtlLookupFunctionEntry(ULONG64 pc, PULONG64 base, PVOID history);
NTSYSAPI NTSTATUS NTAPI ZwQuerySystemInformation(ULONG class, PVOID buffer, ULONG length, PULONG needed);
NTSYSAPI PDEVICE_OBJECT NTAPI IoGetLowerDeviceObject(PDEVICE_OBJECT device);
NTSYSAPI NTSTATUS NTAPI ObQueryNameString(PVOID object, PVOID info, ULONG length, PULONG needed);
extern __declspec(dllimport) ULONG_PTR KiBugCheckData[5];
extern __declspec(dllimport) ULONG InitSafeBootMode;
extern __declspec(dllimport) int _vsnprintf(char *, size_t, const char *, va_list);
extern __declspec(dllimport) int _vsnwprintf(WCHAR *, size_t, const WCHAR *, va_list);
extern __declspec(dllimport) int _snprintf(char *, size_t, const char *, ...);
extern __declspec(dllimport) int _stricmp(const char *, const char *);
extern __declspec(dllimport) int _strnicmp(const char *, const char *, size_t);
extern __declspec(dllimport) int _wcsnicmp(const WCHAR *, const WCHAR *, size_t);
extern __declspec(dllimport) unsigned long long _strtoui64(const char *, char **, int);
