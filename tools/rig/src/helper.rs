// SPDX-License-Identifier: BSD-2-Clause
//! Builds our own programs that the rig needs: the helper in dom0 and the plugin in QEMU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::Cache;
use crate::command;
use crate::error::{Error, Result};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One of our programs.
pub(crate) struct Helper {
    /// Its folder beside the rig's.
    folder: &'static str,
    /// What cargo makes of it.
    file: &'static str,
    /// Linked with all its libraries, so that it runs in any Linux.
    fixed: bool,
}

/// The other end of tests, in dom0.
pub(crate) const PEER: Helper = Helper {
    folder: "peer",
    file: "xenpeer",
    fixed: true,
};

/// The counter of hypercalls, in QEMU.
pub(crate) const COUNTER: Helper = Helper {
    folder: "tcgcount",
    file: "libtcgcount.so",
    fixed: false,
};

/// Builds `helper` if it is not up to date, in a directory of the rig's own: the caller may be a cargo itself.
///
/// # Errors
/// What the compiler said.
pub(crate) fn build(cache: &Cache, helper: &Helper) -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(helper.folder)
        .join("Cargo.toml");
    let dir = cache.dir("cargo")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let flags = if helper.fixed {
        "-Ctarget-feature=+crt-static"
    } else {
        ""
    };
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--quiet",
            "--profile",
            "peer",
            "--target",
            TARGET,
            "--manifest-path",
        ])
        .arg(&manifest)
        .arg("--target-dir")
        // Different flags in one directory would make each build undo the other.
        .arg(dir.join(helper.folder))
        // The caller's own flags must not decide what is built.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
    let done = command::run(&mut build, Duration::from_secs(600))?;
    if !done.status.success() {
        return Err(Error::missing(format!(
            "{} does not build:\n{}",
            helper.file, done.stderr
        )));
    }
    Ok(dir
        .join(helper.folder)
        .join(TARGET)
        .join("peer")
        .join(helper.file))
}
