// SPDX-License-Identifier: BSD-2-Clause
//! Calls of cargo for targets other than this machine.
//!
//! On Linux: Debian's cargo and rustc, which come with the library source, in folders of their own, so that nothing that
//! rustup's toolchain has built is built again. The lock file in the tree is the one for unpatched `wdk-build`; a build
//! with the stand-in resolves into a copy under `target/` and never writes to the tree.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Flavor, kit::Kit};
use crate::util;

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const WINDOWS: &str = "x86_64-pc-windows-msvc";

/// Debian's cargo, ready for `-Z` options.
pub(crate) fn debian_cargo() -> Result<Command> {
    if !Path::new(DEBIAN_CARGO).exists() {
        bail!("{DEBIAN_CARGO} not found: run `cargo xtask setup`");
    }
    let mut cargo = util::clean_command(DEBIAN_CARGO);
    cargo
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(util::root());
    Ok(cargo)
}

/// `cargo rustc` for driver images, up to the choice of package.
pub(crate) fn driver_cargo(flavor: Flavor, kit: &Kit, drivers: &Path) -> Result<Command> {
    let mut cargo = if cfg!(windows) {
        util::clean_command("cargo")
    } else {
        debian_cargo()?
    };
    cargo.current_dir(util::root());
    cargo.args(["rustc", "--target", WINDOWS, "--profile", flavor.profile()]);
    if cfg!(windows) {
        // The kit's build helper finds the workspace by walking up from the output, so that stays below `target`.
        cargo.arg("--locked");
    } else {
        // What is needed was fetched when the lock file was copied.
        let lock_file = shadow_lock_file(drivers)?;
        cargo.args(with_stand_in(&lock_file)).arg("--offline");
        cargo.env("LIBCLANG_PATH", "/usr/lib/llvm-19/lib");
    }
    cargo.arg("--target-dir").arg(build_dir(drivers));
    cargo.env(
        "CARGO_ENCODED_RUSTFLAGS",
        flags(kit, drivers).join("\u{1f}"),
    );
    Ok(cargo)
}

/// Options that put our `wdk-build` in the place of the published one and build the library from source.
fn with_stand_in(lock_file: &Path) -> Vec<String> {
    let stand_in = util::root().join("tools/wdk-build");
    let mut options: Vec<_> = [
        "-Zbuild-std=core",
        "-Zbuild-std-features=compiler-builtins-mem",
        "-Zlockfile-path",
    ]
    .map(str::to_owned)
    .to_vec();
    for setting in [
        format!("resolver.lockfile-path={lock_file:?}"),
        format!("patch.crates-io.wdk-build.path={stand_in:?}"),
    ] {
        options.extend(["--config".to_owned(), setting]);
    }
    options
}

/// Runs a cargo of [`driver_cargo`] without one warning that says nothing: the library's own crates don't use `wdk-build`.
///
/// # Errors
///
/// It can't be started, or it fails.
pub(crate) fn run(cargo: &mut Command) -> Result<()> {
    let mut child = cargo
        .stderr(Stdio::piped())
        .spawn()
        .context("can't start cargo")?;
    let mut filter = Filter::default();
    for line in BufReader::new(child.stderr.take().context("no error output")?).lines() {
        let line = line?;
        if filter.shows(&line) {
            eprintln!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("cargo failed: {status}");
    }
    Ok(())
}

/// Leaves out the warning about an unused patch, which is one line and its help text.
#[derive(Default)]
struct Filter {
    inside: bool,
}

impl Filter {
    fn shows(&mut self, line: &str) -> bool {
        let starts = line.contains("patch `wdk-build") && line.contains("was not used");
        self.inside =
            starts || (self.inside && (line.starts_with("      ") || line.contains("help")));
        !self.inside
    }
}

/// Cargo's target folder for driver images.
fn build_dir(drivers: &Path) -> PathBuf {
    drivers.join("build")
}

/// Where cargo puts the finished `cdylib`.
pub(crate) fn output_dir(flavor: Flavor, drivers: &Path) -> PathBuf {
    build_dir(drivers).join(WINDOWS).join(flavor.profile())
}

/// Compiler flags for every crate of an image.
fn flags(kit: &Kit, drivers: &Path) -> Vec<String> {
    let mut flags = Vec::new();
    // Longer prefixes come last: the last one that fits wins.
    for (from, to) in private_prefixes(drivers) {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    for dir in &kit.library_dirs {
        flags.push(format!("-Lnative={}", dir.display()));
    }
    flags
}

/// Folders of this machine and what stands for them inside an image.
pub(crate) fn private_prefixes(drivers: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut prefixes = Vec::new();
    let home =
        std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".cargo")));
    prefixes.extend(home.map(|path| (path, "home")));
    prefixes.push((util::root(), ""));
    prefixes.push((build_dir(drivers), "build"));
    if let Some(sources) = cargo_home.map(|path| path.join("registry/src")) {
        // The folder below is named after the registry's host.
        let hosts = std::fs::read_dir(&sources)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()));
        prefixes.push((sources.clone(), "crates"));
        prefixes.extend(hosts.map(|path| (path, "crates")));
    }
    if !cfg!(windows) {
        prefixes.push((PathBuf::from("/usr/lib/rustlib/src/rust"), "rust"));
        prefixes.push((PathBuf::from("/usr/src/rustc-web"), "rust"));
    }
    prefixes
}

/// A copy of the tree's lock file, renewed when that changes; then also fetches what it names.
fn shadow_lock_file(drivers: &Path) -> Result<PathBuf> {
    let mut inputs = util::read(&util::root().join("Cargo.lock"))?;
    inputs.extend(util::read(
        &util::root().join("tools/wdk-build/Cargo.toml"),
    )?);
    inputs.extend(util::output(util::clean_command(DEBIAN_RUSTC).arg("--version"))?.into_bytes());
    // Manifests that changed without the lock file are resolved by the fetch, too.
    for name in ["Cargo.toml", "kexec/Cargo.toml", "include/Cargo.toml"] {
        inputs.extend(util::read(&util::root().join(name))?);
    }
    for name in super::IMAGES {
        inputs.extend(util::read(&super::package_dir(name).join("Cargo.toml"))?);
    }
    let dir = drivers.join("resolve");
    let (stamp, copy) = (dir.join("inputs"), dir.join("Cargo.lock"));
    if !copy.exists() || !std::fs::read(&stamp).is_ok_and(|old| old == inputs) {
        let _ = std::fs::remove_file(&stamp);
        util::write_if_changed(&copy, &util::read(&util::root().join("Cargo.lock"))?)?;
        let mut fetch = debian_cargo()?;
        fetch.args(["fetch", "--quiet"]).args(with_stand_in(&copy));
        run(&mut fetch).context("can't fetch the crates that the drivers are built from")?;
        util::write_if_changed(&stamp, &inputs)?;
    }
    Ok(copy)
}

/// Fails when the tree's lock file names the stand-in instead of the published `wdk-build`.
///
/// # Errors
///
/// It does, or can't be read.
pub(crate) fn check_lock_file() -> Result<()> {
    let path = util::root().join("Cargo.lock");
    let text = String::from_utf8(util::read(&path)?).context("Cargo.lock isn't text")?;
    if !names_published_wdk_build(&text) {
        bail!(
            "Cargo.lock no longer names the published wdk-build: a build with the stand-in has written to it; run `git checkout Cargo.lock`"
        );
    }
    Ok(())
}

fn names_published_wdk_build(lock_file: &str) -> bool {
    lock_file
        .split("[[package]]")
        .find(|package| package.contains("name = \"wdk-build\""))
        .is_some_and(|package| package.contains("source = \"registry+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unused_patch_warning_is_left_out() {
        let mut filter = Filter::default();
        let lines = [
            ("   Compiling core", true),
            (
                "warning: patch `wdk-build v0.6.0 (x)` was not used in the crate graph",
                false,
            ),
            ("help: Check that the patched package", false),
            ("      with the dependency", false),
            ("   Compiling xen", true),
            ("help: consider", true),
        ];
        for (line, shown) in lines {
            assert_eq!(filter.shows(line), shown, "{line}");
        }
    }

    #[test]
    fn a_lock_file_with_the_stand_in_is_noticed() {
        let other = "[[package]]\nname = \"wdk-sys\"\nsource = \"registry+x\"\n";
        let published = format!(
            "{other}\n[[package]]\nname = \"wdk-build\"\nversion = \"0.6.0\"\nsource = \"registry+x\"\n"
        );
        let stand_in = format!("{other}\n[[package]]\nname = \"wdk-build\"\nversion = \"0.6.0\"\n");
        assert!(names_published_wdk_build(&published));
        assert!(!names_published_wdk_build(&stand_in));
        assert!(!names_published_wdk_build(other));
    }
}
