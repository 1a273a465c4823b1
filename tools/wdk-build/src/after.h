/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions of Windows 10 1607 and older that mingw-w64's DDK doesn't declare. Read after its headers. */
