// SPDX-License-Identifier: BSD-2-Clause
//! Builds the driver images and checks them.
//!
//! A driver's package is an ordinary library; its image is the same library compiled as a `cdylib` for Windows and
//! linked as a kernel driver. On Linux that needs Debian's compiler (which has the library source), LLVM's linker, import
//! libraries made from mingw-w64's, and our stand-in for `wdk-build`; on Windows the kit has all of it and nothing is
//! replaced. Every image then passes [`check`] before it is put into `target/drivers/<free|checked>/`.

pub(crate) mod cdriver;
pub(crate) mod check;
mod futures;
mod image;
mod kernel;
mod kit;
pub(crate) mod link;
mod resource;
mod symbols;
mod table;
mod toolchain;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

pub(crate) use kernel::test_kernel;

use crate::{setup, util};

/// Images of the package and the packages that they are made from. An importer comes after what it imports.
pub(crate) const IMAGES: [&str; 7] = [
    "xen",
    "xenbus",
    "xenfilt",
    "xensample",
    "xenprobe",
    "xenecho",
    "xentest",
];

/// Drivers for tests, which are not part of any package.
pub(crate) const TEST_IMAGES: &[&str] = &["kstorm", "xenbench", "xenstress"];

/// Folder of the package that an image is made from.
fn package_dir(name: &str) -> PathBuf {
    let root = util::root();
    let tool = root.join("tools").join(name);
    if tool.is_dir() { tool } else { root.join(name) }
}

/// Arguments of `cargo xtask build`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Debug assertions and more logging
    #[arg(long, conflicts_with = "free")]
    checked: bool,
    /// The shipping build (default)
    #[arg(long)]
    free: bool,
    /// Build one image only
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Build the test kernel instead
    #[arg(long, conflicts_with_all = ["checked", "free", "only"])]
    kernel: bool,
    /// Build the C drivers for the test kernel instead
    #[arg(long, conflicts_with_all = ["checked", "free", "only", "kernel"])]
    cdriver: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// Which of the two builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// The shipping build.
    Free,
    /// The same with debug assertions and more logging.
    Checked,
}

impl Flavor {
    /// Name of the flavor's folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Checked => "checked",
        }
    }

    /// Cargo's profile.
    fn profile(self) -> &'static str {
        match self {
            Self::Free => "release",
            Self::Checked => "checked",
        }
    }

    /// Where the finished images are.
    pub(crate) fn dir(self) -> PathBuf {
        util::target_dir().join("drivers").join(self.name())
    }
}

/// `cargo xtask build`.
///
/// # Errors
///
/// Packages are missing, something doesn't compile or link, or an image fails a check.
pub(crate) fn main(args: &Args) -> Result<()> {
    setup::ensure(&[setup::Purpose::Build], args.yes)?;
    if args.kernel {
        println!("{}", test_kernel()?.display());
        return Ok(());
    }
    if args.cdriver {
        println!("{}", cdriver::build()?.display());
        return Ok(());
    }
    let flavor = if args.checked {
        Flavor::Checked
    } else {
        Flavor::Free
    };
    match &args.only {
        Some(name) => images(flavor, &[name.trim_end_matches(".sys")]),
        None => images(flavor, &IMAGES),
    }
}

/// Builds and checks `names` and prints the size table. The finished files are `NAME.sys`, `NAME.pdb` and `NAME.map` in
/// [`Flavor::dir`].
///
/// # Errors
///
/// Something doesn't compile or link, or an image fails a check.
pub(crate) fn images(flavor: Flavor, names: &[&str]) -> Result<()> {
    for name in names {
        if !IMAGES.contains(name) && !TEST_IMAGES.contains(name) {
            bail!(
                "there is no image `{name}`: the images are {}",
                [&IMAGES[..], TEST_IMAGES].concat().join(", ")
            );
        }
    }
    let drivers = util::target_dir().join("drivers");
    std::fs::create_dir_all(flavor.dir()).context("can't create the folder for the images")?;
    let _lock = lock(&drivers.join("lock"))?;
    let kit = kit::find(&drivers)?;
    for name in names {
        eprintln!("building {name}.sys ({})", flavor.name());
        compile(name, flavor, &kit, &drivers)?;
    }
    toolchain::check_lock_file()?;
    inspect(flavor, names)
}

/// Waits for another build of ours in the same folder.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another `cargo xtask build` to finish");
        file.lock()
            .with_context(|| format!("can't lock {}", path.display()))?;
    }
    Ok(file)
}

fn compile(name: &str, flavor: Flavor, kit: &kit::Kit, drivers: &Path) -> Result<()> {
    let staging = drivers.join("link").join(flavor.name());
    std::fs::create_dir_all(&staging)?;
    let version = resource::write(name, flavor, &staging)?;
    let mut cargo = toolchain::driver_cargo(flavor, kit, drivers)?;
    cargo.args(["--package", name, "--lib", "--crate-type", "cdylib", "--"]);
    for argument in link::arguments(name, kit, &version, &staging) {
        cargo.arg(format!("-Clink-arg={argument}"));
    }
    link::configure(&mut cargo, name)?;
    toolchain::run(&mut cargo).with_context(|| format!("{name}.sys wasn't built"))?;
    let built = toolchain::output_dir(flavor, drivers);
    for (from, to) in [("dll", "sys"), ("pdb", "pdb")] {
        let source = built.join(name).with_extension(from);
        let target = flavor.dir().join(name).with_extension(to);
        std::fs::copy(&source, &target)
            .with_context(|| format!("can't copy {}", source.display()))?;
    }
    let map = staging.join(name).with_extension("map");
    std::fs::copy(&map, flavor.dir().join(name).with_extension("map"))
        .with_context(|| map.display().to_string())?;
    Ok(())
}

/// Runs the checks on finished images and prints what is to know about them.
fn inspect(flavor: Flavor, names: &[&str]) -> Result<()> {
    let mut loaded = Vec::new();
    for name in names {
        loaded.push(image::Image::load(
            &flavor.dir().join(name).with_extension("sys"),
        )?);
    }
    let mut problems = Vec::new();
    for image in &loaded {
        problems.extend(check::all(image, &flavor.dir())?);
    }
    println!("{}", table::sizes(&loaded));
    println!("{}", table::largest_future(&loaded)?);
    if cfg!(target_os = "linux") {
        println!(
            "built on Linux: without control-flow guard (CFG) and without shadow-stack marking (CET)"
        );
    }
    if problems.is_empty() {
        println!("images are in {}", flavor.dir().display());
        return Ok(());
    }
    for name in names {
        // What failed must not be picked up by a later step.
        let path = flavor.dir().join(name).with_extension("sys");
        if problems
            .iter()
            .any(|problem| problem.image == format!("{name}.sys"))
        {
            std::fs::rename(&path, path.with_extension("sys.rejected"))?;
        }
    }
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    bail!(
        "{} problem(s) in the images:\n{}",
        problems.len(),
        lines.join("\n")
    )
}
