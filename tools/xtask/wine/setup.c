// SPDX-License-Identifier: BSD-2-Clause
//
// Installs a package through the setup functions of the system it runs on (Wine's, in our tests):
//
//     setup.exe <inf> <hardware id>
//
// makes a root-enumerated device with that hardware id and has the best driver of the INF installed on
// it, as devcon does. No C library. Prints one line per step; the exit code is 0 only if all succeed.

#include <windows.h>
#include <setupapi.h>
#include <newdev.h>

#define CLASS_NAME_LENGTH 32

// clang may call these.
void *memset(void *at, int value, size_t count)
{
    unsigned char *bytes = at;
    while (count--)
        *bytes++ = (unsigned char)value;
    return at;
}

static void say(const WCHAR *text)
{
    char line[512];
    DWORD written;
    int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, line, sizeof line, NULL, NULL);
    if (length > 1)
        WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), line, (DWORD)length - 1, &written, NULL);
}

static void number(DWORD value)
{
    WCHAR text[11] = L"0x00000000";
    for (int digit = 0; digit < 8; digit++)
        text[9 - digit] = L"0123456789ABCDEF"[(value >> (4 * digit)) & 15];
    say(text);
}

static BOOL report(const WCHAR *step, BOOL good)
{
    DWORD error = GetLastError();
    say(good ? L"SETUP ok " : L"SETUP FAIL ");
    say(step);
    if (!good) {
        say(L" error ");
        number(error);
    }
    say(L"\r\n");
    return good;
}

// Takes one argument off the command line, quoted or not.
static WCHAR *argument(WCHAR **rest)
{
    WCHAR *at = *rest, *start;
    while (*at == L' ')
        at++;
    WCHAR end = L' ';
    if (*at == L'"') {
        end = L'"';
        at++;
    }
    start = at;
    while (*at && *at != end)
        at++;
    if (*at)
        *at++ = 0;
    *rest = at;
    return start;
}

static BOOL parse_inf(const WCHAR *inf, GUID *class, WCHAR *name)
{
    UINT line = 0;
    HINF handle = SetupOpenInfFileW(inf, NULL, INF_STYLE_WIN4, &line);
    BOOL good = handle != INVALID_HANDLE_VALUE;
    report(L"SetupOpenInfFile", good);
    if (!good) {
        say(L"SETUP INFO line ");
        number(line);
        say(L"\r\n");
        return FALSE;
    }
    SetupCloseInfFile(handle);
    return report(L"SetupDiGetINFClass", SetupDiGetINFClassW(inf, class, name, CLASS_NAME_LENGTH, NULL));
}

static int install(const WCHAR *inf, const WCHAR *id)
{
    GUID class;
    WCHAR name[CLASS_NAME_LENGTH];
    WCHAR ids[256];
    SP_DEVINFO_DATA device;
    BOOL reboot = FALSE;
    int length = lstrlenW(id);

    if (length == 0 || length > 250)
        return 2;
    memset(ids, 0, sizeof ids);
    lstrcpyW(ids, id);
    if (!parse_inf(inf, &class, name))
        return 3;

    HDEVINFO set = SetupDiCreateDeviceInfoList(&class, NULL);
    if (!report(L"SetupDiCreateDeviceInfoList", set != INVALID_HANDLE_VALUE))
        return 4;
    memset(&device, 0, sizeof device);
    device.cbSize = sizeof device;
    if (!report(L"SetupDiCreateDeviceInfo",
                SetupDiCreateDeviceInfoW(set, name, &class, NULL, NULL, DICD_GENERATE_ID, &device)))
        return 5;
    if (!report(L"hardware id",
                SetupDiSetDeviceRegistryPropertyW(set, &device, SPDRP_HARDWAREID, (const BYTE *)ids,
                                                  (DWORD)(length + 2) * sizeof(WCHAR))))
        return 6;
    if (!report(L"DIF_REGISTERDEVICE", SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, &device)))
        return 7;
    if (!report(L"UpdateDriverForPlugAndPlayDevices",
                UpdateDriverForPlugAndPlayDevicesW(NULL, id, inf, INSTALLFLAG_FORCE, &reboot)))
        return 8;
    SetupDiDestroyDeviceInfoList(set);
    return 0;
}

void start(void)
{
    WCHAR *rest = GetCommandLineW();
    argument(&rest);
    const WCHAR *inf = argument(&rest);
    const WCHAR *id = argument(&rest);
    ExitProcess((UINT)install(inf, id));
}
