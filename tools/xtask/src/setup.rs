// SPDX-License-Identifier: BSD-2-Clause
//! Finds missing Debian packages and offers to install them. QEMU and Xen are the rig's business, not ours; rustup is
//! never touched.

use std::{
    io::{BufRead, IsTerminal, Write},
    process::Command,
};

use anyhow::{Result, bail};

use crate::util;

/// What a command needs the packages for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building driver images and the test kernel.
    Build,
    /// Loading the images into Wine.
    Wine,
    /// Making dom0's file system for the rig.
    Rig,
}

/// Every Debian package used, with what it is for. Versions are those of Debian 12 (bookworm).
const PACKAGES: &[(&str, Purpose, &str)] = &[
    (
        "rustc-web",
        Purpose::Build,
        "Rust compiler that matches the library source below",
    ),
    ("cargo-web", Purpose::Build, "cargo of that compiler"),
    (
        "rust-web-src",
        Purpose::Build,
        "library source: core is built for the driver and bare-metal targets",
    ),
    (
        "lld-19",
        Purpose::Build,
        "links PE images (lld-link-19) and the test kernel",
    ),
    (
        "llvm-19",
        Purpose::Build,
        "makes import libraries (llvm-dlltool-19)",
    ),
    ("clang-19", Purpose::Build, "compiles the C test drivers"),
    (
        "libclang-19-dev",
        Purpose::Build,
        "reads the DDK's headers for wdk-sys",
    ),
    (
        "mingw-w64-x86-64-dev",
        Purpose::Build,
        "DDK headers and the kernel's export names",
    ),
    (
        "g++-mingw-w64-x86-64-win32",
        Purpose::Build,
        "compiles the C headers, as C and as C++",
    ),
    ("gcc", Purpose::Build, "links build scripts"),
    (
        "wine64",
        Purpose::Wine,
        "loads the driver images a second way",
    ),
    ("busybox-static", Purpose::Rig, "dom0's user space"),
    ("kmod", Purpose::Rig, "dom0's kernel modules"),
    ("cpio", Purpose::Rig, "packs dom0's file system"),
];

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Install without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Checks for every package that any command needs.
///
/// # Errors
///
/// As [`ensure`].
pub(crate) fn main(args: &Args) -> Result<()> {
    ensure(&[Purpose::Build, Purpose::Wine, Purpose::Rig], args.yes)?;
    println!("set up: nothing is missing");
    Ok(())
}

/// Makes sure that the packages for `purposes` are installed. On a host other than Linux there is nothing to do.
///
/// # Errors
///
/// Packages are missing and nobody agreed to install them (the message lists them and says how), or apt failed.
pub(crate) fn ensure(purposes: &[Purpose], yes: bool) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let wanted: Vec<_> = PACKAGES
        .iter()
        .filter(|(_, purpose, _)| purposes.contains(purpose))
        .collect();
    let installed = installed(&wanted.iter().map(|(name, ..)| *name).collect::<Vec<_>>())?;
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|(name, ..)| !installed.iter().any(|have| have == name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing Debian packages:");
    for (name, _, purpose) in &missing {
        println!("  {name:<22} {purpose}");
    }
    let names: Vec<_> = missing.iter().map(|(name, ..)| *name).collect();
    if !yes && !agreed()? {
        bail!(
            "packages are missing; run `cargo xtask setup --yes`, or: apt-get install {}",
            names.join(" ")
        );
    }
    install(&names)
}

/// Those of `names` that dpkg calls installed.
fn installed(names: &[&str]) -> Result<Vec<String>> {
    let output = match Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Package}\n"])
        .args(names)
        .output()
    {
        Ok(output) => output,
        Err(error) => bail!(
            "can't ask dpkg-query ({error}): this needs Debian 12; elsewhere install the equivalents by hand"
        ),
    };
    // A name that dpkg doesn't know makes it fail, but it still prints the others.
    Ok(installed_of(&String::from_utf8_lossy(&output.stdout)))
}

fn installed_of(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect()
}

/// Asks on a terminal; elsewhere the answer is no.
fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("install them with apt-get? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(names: &[&str]) -> Result<()> {
    // Outside root's shell, sudo says itself what it lacks.
    let is_root = util::output(Command::new("id").arg("-u"))?.trim() == "0";
    let apt = || {
        let mut command = if is_root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !is_root {
            command.arg("apt-get");
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    util::run(apt().args(["-q", "update"]))?;
    util::run(
        apt()
            .args(["-q", "-y", "--no-install-recommends", "install"])
            .args(names),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count_as_installed() {
        let listing = "installed gcc\nnot-installed wine64\nconfig-files cpio\ninstalled kmod\n";
        assert_eq!(installed_of(listing), ["gcc", "kmod"]);
    }

    #[test]
    fn package_names_are_listed_once() {
        for (index, (name, ..)) in PACKAGES.iter().enumerate() {
            assert!(
                PACKAGES[index + 1..]
                    .iter()
                    .all(|(other, ..)| other != name),
                "{name} is listed twice"
            );
        }
    }
}
