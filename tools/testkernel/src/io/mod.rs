// SPDX-License-Identifier: BSD-2-Clause
//! `io`.

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];

use crate::status::NtStatus;

/// Loads the service `name` (`drivers/NAME.sys` of the payload) as a plain driver: image, driver object,
/// `DriverEntry`. Runs at PASSIVE_LEVEL in a system thread.
pub fn load_driver(_name: &str) -> NtStatus {
    crate::status::NOT_IMPLEMENTED
}

/// Calls `DriverUnload` of a plain driver and unloads its image (through `ldr::unload`).
pub fn unload_driver(_name: &str) -> NtStatus {
    crate::status::NOT_IMPLEMENTED
}
