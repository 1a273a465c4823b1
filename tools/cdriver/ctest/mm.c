// SPDX-License-Identifier: BSD-2-Clause
// Pages, MDLs, mappings.
#include "../test.h"

static void pages_for_an_mdl(void)
{
    PHYSICAL_ADDRESS low = { .QuadPart = 0 }, high = { .QuadPart = ~0ull >> 1 }, skip = { .QuadPart = 0 };
    PMDL mdl = MmAllocatePagesForMdlEx(low, high, skip, 3 * PAGE_SIZE, MmCached, MM_ALLOCATE_FULLY_REQUIRED);
    CHECK(mdl != NULL);
    if (mdl == NULL)
        return;
    CHECK(MmGetMdlByteCount(mdl) == 3 * PAGE_SIZE && MmGetMdlByteOffset(mdl) == 0);
    CHECK((mdl->MdlFlags & MDL_PAGES_LOCKED) != 0 && (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0);
    PUCHAR va = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority | MdlMappingNoExecute);
    CHECK(va != NULL && (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) != 0);
    CHECK(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) == va);
    for (int i = 0; i < 3; i++) {
        CHECK(va[i * PAGE_SIZE] == 0);
        va[i * PAGE_SIZE] = (UCHAR)(0x10 + i);
    }
    // The middle page alone, through an MDL made by hand.
    struct {
        MDL head;
        PFN_NUMBER page;
    } hand = { 0 };
    hand.head.Size = sizeof hand;
    hand.head.MdlFlags = MDL_PAGES_LOCKED;
    hand.head.ByteCount = PAGE_SIZE;
    hand.page = MmGetMdlPfnArray(mdl)[1];
    PUCHAR alias = MmMapLockedPagesSpecifyCache(&hand.head, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    CHECK(alias != NULL && alias != va + PAGE_SIZE && alias[0] == 0x11);
    MmUnmapLockedPages(alias, &hand.head);
    CHECK((hand.head.MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0);
    MmUnmapLockedPages(va, mdl);
    MmFreePagesFromMdl(mdl);
    ExFreePool(mdl);
}

static void contiguous_pages(void)
{
    PHYSICAL_ADDRESS low = { .QuadPart = 0 }, high = { .QuadPart = ~0ull >> 1 };
    PHYSICAL_ADDRESS skip = { .QuadPart = 4 * PAGE_SIZE };
    PMDL mdl = MmAllocatePagesForMdlEx(low, high, skip, 4 * PAGE_SIZE, MmCached,
                                       MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS | MM_ALLOCATE_FULLY_REQUIRED);
    CHECK(mdl != NULL);
    if (mdl == NULL)
        return;
    PPFN_NUMBER pages = MmGetMdlPfnArray(mdl);
    CHECK(pages[1] == pages[0] + 1 && pages[3] == pages[0] + 3);
    // Map the first page as if it were a device's.
    PHYSICAL_ADDRESS address = { .QuadPart = (LONGLONG)(pages[0] << PAGE_SHIFT) + 0x123 };
    KIRQL old = KeRaiseIrqlToDpcLevel();
    PUCHAR mapped = MmMapIoSpace(address, 16, MmCached);
    CHECK(mapped != NULL && ((ULONG_PTR)mapped & (PAGE_SIZE - 1)) == 0x123);
    mapped[0] = 0x42;
    MmUnmapIoSpace(mapped, 16);
    KeLowerIrql(old);
    PUCHAR va = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
    CHECK(va != NULL && va[0x123] == 0x42);
    MmUnmapLockedPages(va, mdl);
    MmFreePagesFromMdl(mdl);
    ExFreePool(mdl);
}

static void mdl_over_pool(void)
{
    PUCHAR block = ExAllocatePoolWithTag(NonPagedPoolNx, 2 * PAGE_SIZE, TAG);
    CHECK(block != NULL);
    PMDL mdl = IoAllocateMdl(block + 0x10, PAGE_SIZE, FALSE, FALSE, NULL);
    CHECK(mdl != NULL && MmGetMdlByteOffset(mdl) == 0x10 && MmGetMdlVirtualAddress(mdl) == block + 0x10);
    MmBuildMdlForNonPagedPool(mdl);
    CHECK((mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL) != 0);
    CHECK(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) == block + 0x10);
    PHYSICAL_ADDRESS address = MmGetPhysicalAddress(block);
    CHECK((PFN_NUMBER)(address.QuadPart >> PAGE_SHIFT) == MmGetMdlPfnArray(mdl)[0]);
    IoFreeMdl(mdl);
    ExFreePoolWithTag(block, TAG);
}

static void memory_ranges(void)
{
    PPHYSICAL_MEMORY_RANGE ranges = MmGetPhysicalMemoryRanges();
    CHECK(ranges != NULL);
    if (ranges == NULL)
        return;
    LONGLONG total = 0;
    for (int i = 0; ranges[i].BaseAddress.QuadPart != 0 || ranges[i].NumberOfBytes.QuadPart != 0; i++)
        total += ranges[i].NumberOfBytes.QuadPart;
    CHECK(total > 16 << 20);
    ExFreePool(ranges);
}

void mm_tests(void)
{
    RUN(pages_for_an_mdl);
    RUN(contiguous_pages);
    RUN(mdl_over_pool);
    RUN(memory_ranges);
}
