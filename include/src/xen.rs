// SPDX-License-Identifier: BSD-2-Clause
//! The private ABI of xen.sys.
