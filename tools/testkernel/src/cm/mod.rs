// SPDX-License-Identifier: BSD-2-Clause
//! `cm`.

use alloc::string::String;

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];

/// Fills the registry from `registry.txt`; says what is wrong with it. Called once, before any driver.
pub fn init(_registry: &str) -> Result<(), String> {
    Ok(())
}
