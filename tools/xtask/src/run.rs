// SPDX-License-Identifier: BSD-2-Clause
//! Runs the sample driver on a real Xen.

use anyhow::{Result, bail};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// Runs the sample driver on a real Xen.
///
/// # Errors
///
/// Always, until it is wired to the rest.
pub(crate) fn main(_args: &Args) -> Result<()> {
    bail!("cargo xtask run: not yet wired")
}
