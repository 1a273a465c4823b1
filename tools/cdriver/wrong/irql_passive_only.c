// SPDX-License-Identifier: BSD-2-Clause
// Opens a key at DISPATCH_LEVEL.
#include "wrong.h"

WRONG
{
    HANDLE key;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Registry\\Machine");
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    KIRQL old = KeRaiseIrqlToDpcLevel();
    ZwOpenKey(&key, KEY_READ, &attributes);
    KeLowerIrql(old);
}
