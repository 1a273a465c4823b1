// SPDX-License-Identifier: BSD-2-Clause
//! Builds the test kernel, an ELF file for bare metal.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::toolchain;
use crate::util;

const TARGET: &str = "x86_64-unknown-none";

/// Builds package `testkernel` and returns the ELF file.
///
/// # Errors
///
/// The compiler is missing or the kernel doesn't compile.
pub(crate) fn test_kernel() -> Result<PathBuf> {
    let dir = util::target_dir().join("testkernel");
    if cfg!(windows) {
        bail!("the test kernel is built and run on Linux only");
    }
    let mut cargo = toolchain::debian_cargo()?;
    cargo.args([
        "build",
        "--package",
        "testkernel",
        "--release",
        "--target",
        TARGET,
    ]);
    cargo.args([
        "-Zbuild-std=core,alloc",
        "-Zbuild-std-features=compiler-builtins-mem",
    ]);
    cargo.arg("--target-dir").arg(&dir);
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", "ld.lld-19");
    util::run(&mut cargo).context("the test kernel wasn't built")?;
    Ok(dir.join(TARGET).join("release/testkernel"))
}
