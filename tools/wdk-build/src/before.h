/* SPDX-License-Identifier: BSD-2-Clause */
/* What wdk-sys expects of the kit's headers and mingw-w64's lack. Read before them. */
typedef unsigned long long POOL_FLAGS;
