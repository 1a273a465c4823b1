/* SPDX-License-Identifier: BSD-2-Clause */
/* What wdk-sys expects of the kit's headers and mingw-w64's lack. Read before them. */
typedef unsigned long long POOL_FLAGS;
/* In the kit this structure is aligned to MEMORY_ALLOCATION_ALIGNMENT, which makes it 0x150 bytes, not 0x148. */
struct __attribute__((aligned(16))) _DEVICE_OBJECT;
