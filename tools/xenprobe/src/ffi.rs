// SPDX-License-Identifier: BSD-2-Clause
//! The image's entry point.
#![expect(unsafe_code, reason = "DriverEntry is called by the I/O manager")]

xenchild::entry!(crate::run::Running);
