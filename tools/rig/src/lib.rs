// SPDX-License-Identifier: BSD-2-Clause
//! Real Xen in QEMU for tests.
