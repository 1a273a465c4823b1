// SPDX-License-Identifier: BSD-2-Clause
//! xen.sys: hypercalls and support library.
#![no_std]
