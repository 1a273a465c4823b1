// SPDX-License-Identifier: BSD-2-Clause
//! Folders of the workspace and running other programs.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Top folder of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo names the package's folder when it runs this program; the compiled-in one serves a direct start.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|path| path.ends_with("tools/xtask"))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package
        .ancestors()
        .nth(2)
        .map_or(package.clone(), Path::to_path_buf)
}

/// Folder for everything that is built: `CARGO_TARGET_DIR`, else `target`.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        None => root().join("target"),
    }
}

/// A command without what rustup and `cargo run` left in the environment, so that another toolchain works in it.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    const LEFT_BY_RUSTUP: [&str; 11] = [
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
    ];
    let mut command = Command::new(program);
    for name in LEFT_BY_RUSTUP {
        command.env_remove(name);
    }
    command
}

/// Runs `command` with our standard streams.
///
/// # Errors
///
/// It can't be started, or it fails; both name the program.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("can't start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().display());
    }
    Ok(())
}

/// Runs `command` and returns what it printed.
///
/// # Errors
///
/// It can't be started, or it fails; the message has its error output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("can't start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes `data` to `path` unless it has these contents already, so that its time stamp means something.
///
/// # Errors
///
/// The file can't be written.
pub(crate) fn write_if_changed(path: &Path, data: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == data) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    std::fs::write(path, data).with_context(|| path.display().to_string())
}

/// Reads a file; the error names it.
///
/// # Errors
///
/// The file can't be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}
