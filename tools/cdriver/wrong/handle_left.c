// SPDX-License-Identifier: BSD-2-Clause
// Leaves a handle open.
#include "wrong.h"

WRONG
{
    HANDLE handle;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\KernelObjects\\LowMemoryCondition");
    IoCreateNotificationEvent(&name, &handle);
}
