// SPDX-License-Identifier: BSD-2-Clause
// The run-time library: strings, formats, C names, time, GUIDs.
#include "../test.h"

static int print(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int result = _vsnprintf(buffer, size, format, args);
    va_end(args);
    return result;
}

static int print_wide(WCHAR *buffer, size_t size, const WCHAR *format, ...)
{
    va_list args;
    va_start(args, format);
    int result = _vsnwprintf(buffer, size, format, args);
    va_end(args);
    return result;
}

static void formats(void)
{
    char text[64];
    CHECK(print(text, sizeof text, "%s|%5d|%-3u|%04x|%c", "abc", -42, 7, 0xbe, 'z') == 20);
    CHECK(strcmp(text, "abc|  -42|7  |00be|z") == 0);
    CHECK(print(text, sizeof text, "%p", (void *)0xabcdef) == 16);
    CHECK(strcmp(text, "0000000000ABCDEF") == 0);
    CHECK(print(text, sizeof text, "%lld %llx %I64u", -1LL, 0x123456789aULL, 5ULL) == 15);
    CHECK(strcmp(text, "-1 123456789a 5") == 0);
    CHECK(print(text, sizeof text, "%ws %hs %S", L"wide", "narrow", L"other") == 17);
    CHECK(strcmp(text, "wide narrow other") == 0);

    UNICODE_STRING unicode = RTL_CONSTANT_STRING(L"unicode");
    ANSI_STRING ansi = RTL_CONSTANT_STRING("ansi");
    CHECK(print(text, sizeof text, "%wZ-%Z", &unicode, &ansi) == 12);
    CHECK(strcmp(text, "unicode-ansi") == 0);

    // Eight arguments: some of them on the stack.
    CHECK(print(text, sizeof text, "%d%d%d%d%d%d%d%d", 1, 2, 3, 4, 5, 6, 7, 8) == 8);
    CHECK(strcmp(text, "12345678") == 0);

    text[3] = 'X';
    CHECK(print(text, 3, "abc") == 3 && text[3] == 'X');
    CHECK(print(text, 3, "abcd") == -1 && text[3] == 'X');
    CHECK(_snprintf(text, sizeof text, "%s", "direct") == 6);

    WCHAR wide[32];
    CHECK(print_wide(wide, 32, L"%s %hs %04X", L"w", "n", 0xab) == 8);
    CHECK(wcscmp(wide, L"w n 00AB") == 0);
}

static void counted_strings(void)
{
    UNICODE_STRING string, copy;
    ANSI_STRING ansi;
    WCHAR buffer[8];

    RtlInitUnicodeString(&string, NULL);
    CHECK(string.Length == 0 && string.MaximumLength == 0 && string.Buffer == NULL);
    RtlInitUnicodeString(&string, L"abc");
    CHECK(string.Length == 6 && string.MaximumLength == 8);
    RtlInitAnsiString(&ansi, "Hello");
    CHECK(ansi.Length == 5 && ansi.MaximumLength == 6);

    CHECK_STATUS(RtlAnsiStringToUnicodeString(&copy, &ansi, TRUE), STATUS_SUCCESS);
    CHECK(copy.Length == 10 && copy.Buffer[5] == 0 && wcscmp(copy.Buffer, L"Hello") == 0);
    UNICODE_STRING upper;
    CHECK_STATUS(RtlUpcaseUnicodeString(&upper, &copy, TRUE), STATUS_SUCCESS);
    CHECK(upper.Length == 10 && memcmp(upper.Buffer, L"HELLO", 10) == 0);
    CHECK(RtlEqualUnicodeString(&upper, &copy, TRUE));
    CHECK(!RtlEqualUnicodeString(&upper, &copy, FALSE));
    CHECK(RtlCompareUnicodeString(&upper, &copy, FALSE) < 0);
    RtlFreeUnicodeString(&upper);
    CHECK(upper.Buffer == NULL && upper.Length == 0);

    ANSI_STRING back;
    CHECK_STATUS(RtlUnicodeStringToAnsiString(&back, &copy, TRUE), STATUS_SUCCESS);
    CHECK(back.Length == 5 && strcmp(back.Buffer, "Hello") == 0);
    CHECK(RtlEqualString(&ansi, &back, FALSE));
    RtlFreeAnsiString(&back);
    char small[3];
    back.Buffer = small;
    back.Length = 0;
    back.MaximumLength = sizeof small;
    CHECK_STATUS(RtlUnicodeStringToAnsiString(&back, &copy, FALSE), STATUS_BUFFER_OVERFLOW);
    RtlFreeUnicodeString(&copy);

    string.Buffer = buffer;
    string.Length = 0;
    string.MaximumLength = sizeof buffer;
    CHECK_STATUS(RtlAppendUnicodeToString(&string, L"abcd"), STATUS_SUCCESS);
    CHECK(string.Length == 8 && buffer[4] == 0);
    CHECK_STATUS(RtlAppendUnicodeToString(&string, L"efghi"), STATUS_BUFFER_TOO_SMALL);
    CHECK(string.Length == 8);
    ULONG number = 0;
    UNICODE_STRING digits = RTL_CONSTANT_STRING(L"0x2a");
    CHECK_STATUS(RtlUnicodeStringToInteger(&digits, 0, &number), STATUS_SUCCESS);
    CHECK(number == 42);
    string.Length = 0;
    CHECK_STATUS(RtlIntegerToUnicodeString(1234, 10, &string), STATUS_SUCCESS);
    CHECK(string.Length == 8 && memcmp(buffer, L"1234", 8) == 0);
}

static void c_names(void)
{
    char *end;
    CHECK(_strtoui64("0x1fffffffff rest", &end, 0) == 0x1fffffffffULL && *end == ' ');
    CHECK(_strtoui64("077", NULL, 8) == 63);
    CHECK(_stricmp("AbC", "aBc") == 0 && _strnicmp("abX", "ABy", 2) == 0);
    CHECK(_wcsnicmp(L"abX", L"ABy", 2) == 0);
    CHECK(strrchr("a/b/c", '/')[1] == 'c' && strchr("abc", 'x') == NULL);
    CHECK(strcmp(strstr("needle in hay", "in"), "in hay") == 0);
    CHECK(strncmp("abc", "abd", 2) == 0 && strncmp("abc", "abd", 3) < 0);
    CHECK(wcschr(L"x=y", L'=')[1] == L'y' && wcslen(L"four") == 4);
    const char *volatile text = "narrow";
    CHECK(strlen(text) == 6);
    CHECK(isdigit('7') && !isdigit('x') && isprint('~') && !isprint(7));
    char bytes[16] = "0123456789";
    memmove(bytes + 2, bytes, 8);
    CHECK(memcmp(bytes, "0101234567", 10) == 0);
    CHECK(RtlCompareMemory("abcd", "abXd", 4) == 2);
}

static void time_guid_version(void)
{
    TIME_FIELDS fields;
    LARGE_INTEGER time;
    time.QuadPart = 116444736000000000LL;
    RtlTimeToTimeFields(&time, &fields);
    CHECK(fields.Year == 1970 && fields.Month == 1 && fields.Day == 1 && fields.Weekday == 4);
    LARGE_INTEGER back;
    CHECK(RtlTimeFieldsToTime(&fields, &back) && back.QuadPart == time.QuadPart);

    GUID guid = { 0x496b8280, 0x6f25, 0x11d0, { 0xbe, 0xaf, 8, 0, 0x2b, 0xe2, 9, 0x2f } }, parsed;
    UNICODE_STRING text;
    CHECK_STATUS(RtlStringFromGUID(&guid, &text), STATUS_SUCCESS);
    CHECK(text.Length == 76 && wcscmp(text.Buffer, L"{496B8280-6F25-11D0-BEAF-08002BE2092F}") == 0);
    CHECK_STATUS(RtlGUIDFromString(&text, &parsed), STATUS_SUCCESS);
    CHECK(memcmp(&guid, &parsed, sizeof guid) == 0);
    RtlFreeUnicodeString(&text);

    RTL_OSVERSIONINFOEXW version = { .dwOSVersionInfoSize = sizeof version };
    CHECK_STATUS(RtlGetVersion((PRTL_OSVERSIONINFOW)&version), STATUS_SUCCESS);
    CHECK(version.dwMajorVersion == 10 && version.dwBuildNumber >= 14393);
    ULONG seed = 1, first = RtlRandomEx(&seed), second = RtlRandomEx(&seed);
    CHECK(first != second && first < 0x80000000 && second < 0x80000000);
}

static void bitmaps(void)
{
    ULONG bits[2] = { 0, 0 };
    RTL_BITMAP map;
    RtlInitializeBitMap(&map, bits, 40);
    RtlSetBits(&map, 0, 33);
    CHECK(RtlFindClearBitsAndSet(&map, 3, 0) == 33);
    CHECK(RtlNumberOfSetBits(&map) == 36);
    RtlClearBits(&map, 5, 2);
    CHECK(RtlFindClearBits(&map, 2, 10) == 36 && RtlAreBitsClear(&map, 5, 2) && RtlTestBit(&map, 4));
}

static void contexts(void)
{
    // A CONTEXT has 0x4D0 bytes, aligned to 16; RSP is at 0x98, RIP at 0xF8.
    static DECLSPEC_ALIGN(16) UCHAR context[0x4d0];
    RtlCaptureContext(context);
    ULONG64 rsp = *(ULONG64 *)(context + 0x98), rip = *(ULONG64 *)(context + 0xf8);
    ULONG64 here = (ULONG64)_AddressOfReturnAddress();
    CHECK(rsp < here && here - rsp < 0x1000);
    CHECK(rip > (ULONG64)driver->DriverStart);
    CHECK(rip < (ULONG64)driver->DriverStart + driver->DriverSize);
    PVOID frame = (PVOID)1;
    USHORT count = RtlCaptureStackBackTrace(0, 1, &frame, NULL);
    CHECK(count <= 1 && (count == 1 || frame == NULL));
}

static void prints_above_passive(void)
{
    KIRQL old;
    KeRaiseIrql(HIGH_LEVEL, &old);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "a line at %s\n", "HIGH_LEVEL");
    KeLowerIrql(old);
    CHECK_STATUS(DbgSetDebugFilterState(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, TRUE), STATUS_SUCCESS);
}

void rtl_tests(void)
{
    RUN(formats);
    RUN(counted_strings);
    RUN(c_names);
    RUN(time_guid_version);
    RUN(bitmaps);
    RUN(contexts);
    RUN(prints_above_passive);
}
