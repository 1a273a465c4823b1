// SPDX-License-Identifier: BSD-2-Clause
//! The driver's C-ABI edge: entry points in images, filter objects everywhere.
//!
//! UNSAFETY: raw objects of the I/O manager come in here and become kexec's views.
#![expect(unsafe_code, reason = "the edge to the I/O manager")]

mod device;
#[cfg(windows)]
mod entry;
