// SPDX-License-Identifier: BSD-2-Clause
//! Runs every test.

use anyhow::{Result, bail};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// Runs every test.
///
/// # Errors
///
/// Always, until it is wired to the rest.
pub(crate) fn main(_args: &Args) -> Result<()> {
    bail!("cargo xtask test: not yet wired")
}
