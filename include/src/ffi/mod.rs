// SPDX-License-Identifier: BSD-2-Clause
//! The C edge of this crate: imports from xen.sys and calls through the bus driver's tables.
#![cfg_attr(windows, expect(unsafe_code, reason = "calls of foreign functions"))]

#[cfg(windows)]
pub(crate) mod xen;
