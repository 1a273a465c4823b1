// SPDX-License-Identifier: BSD-2-Clause
// Pool: alignment, sizes, and frees at DISPATCH_LEVEL.
#include "../test.h"

static void blocks(void)
{
    static const SIZE_T sizes[] = { 1, 16, 100, 4080, 4096, 5000, 65536 };
    for (int i = 0; i < 7; i++) {
        PUCHAR block = ExAllocatePoolWithTag(NonPagedPoolNx, sizes[i], TAG);
        CHECK(block != NULL);
        if (block == NULL)
            continue;
        CHECK(((ULONG_PTR)block & 15) == 0);
        CHECK(sizes[i] < PAGE_SIZE || ((ULONG_PTR)block & (PAGE_SIZE - 1)) == 0);
        memset(block, 0x5a, sizes[i]);
        CHECK(block[sizes[i] - 1] == 0x5a);
        ExFreePoolWithTag(block, TAG);
    }
    PVOID paged = ExAllocatePoolWithTag(PagedPool, 64, TAG);
    CHECK(paged != NULL);
    ExFreePool(paged);
}

static void at_dispatch_level(void)
{
    PVOID many[32];
    KIRQL old;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    for (int i = 0; i < 32; i++) {
        many[i] = ExAllocatePoolWithTag(NonPagedPoolNx, 8 * i + 1, TAG);
        CHECK(many[i] != NULL);
    }
    for (int i = 0; i < 32; i++)
        ExFreePoolWithTag(many[i], TAG);
    KeLowerIrql(old);
}

static void too_much(void)
{
    CHECK(ExAllocatePoolWithTag(NonPagedPoolNx, (SIZE_T)1 << 40, TAG) == NULL);
}

void pool_tests(void)
{
    RUN(blocks);
    RUN(at_dispatch_level);
    RUN(too_much);
}
