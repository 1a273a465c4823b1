// SPDX-License-Identifier: BSD-2-Clause
// Closes a handle twice.
#include "wrong.h"

WRONG
{
    HANDLE handle;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\KernelObjects\\LowMemoryCondition");
    IoCreateNotificationEvent(&name, &handle);
    ZwClose(handle);
    ZwClose(handle);
}
