// SPDX-License-Identifier: BSD-2-Clause
//
// Does to xen.sys what Wine does not: calls DllInitialize, as NT's loader does for an export driver, and then XenTouch
// with a version that no build has. Prints one line with both results.

typedef int NTSTATUS;

__declspec(dllimport) unsigned long DbgPrint(const char *format, ...);
__declspec(dllimport) NTSTATUS DllInitialize(void *registry_path);
__declspec(dllimport) NTSTATUS XenTouch(const char *name, unsigned major, unsigned minor, unsigned micro, unsigned build);

NTSTATUS DriverEntry(void *driver, void *registry_path)
{
    (void)driver;
    NTSTATUS initialized = DllInitialize(registry_path);
    NTSTATUS mixed = XenTouch("caller", 1, 2, 3, 4);
    DbgPrint("caller: DllInitialize %08x, mixed XenTouch %08x\n", initialized, mixed);
    return 0;
}
