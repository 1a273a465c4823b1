// SPDX-License-Identifier: BSD-2-Clause
//! Prints the state of the bus from a memory image.

use anyhow::{Result, bail};

/// Arguments of `cargo xtask dump`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// Prints the state of the bus from a memory image.
///
/// # Errors
///
/// Always, until it is wired to the rest.
pub(crate) fn main(_args: &Args) -> Result<()> {
    bail!("cargo xtask dump: not yet wired")
}
