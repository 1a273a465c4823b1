// SPDX-License-Identifier: BSD-2-Clause
//! Stamps the INF and gathers the driver package in `<target>/package/`, ready for catalogue and signatures.
//!
//! The result depends on sources and environment only, never on the clock: the date of `DriverVer` is
//! `SOURCE_DATE_EPOCH`'s, or the last commit's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use inf::{Inf, Values};

use crate::{build, setup, util};

/// Images that ship. The sample child does not.
const SHIPPED: [&str; 3] = ["xen", "xenbus", "xenfilt"];

/// Arguments of `cargo xtask package`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Package the checked build
    #[arg(long)]
    checked: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// Builds, stamps and gathers.
///
/// # Errors
///
/// The build failed, a name of the INF has no sensible value, or the INF and the files do not fit together.
pub(crate) fn main(args: &Args) -> Result<()> {
    setup::ensure(&[setup::Purpose::Build], args.yes)?;
    let flavor = if args.checked {
        build::Flavor::Checked
    } else {
        build::Flavor::Free
    };
    build::images(flavor, &SHIPPED)?;
    let folder = gather(&flavor.dir())?;
    println!("package {} in {}", version()?, folder.display());
    println!("{}", missing_steps());
    Ok(())
}

/// Puts the stamped INF and the shipped images with their PDBs from `images` into the package folder.
///
/// # Errors
///
/// As [`main`], without the build.
pub(crate) fn gather(images: &Path) -> Result<PathBuf> {
    let stamped = stamped_inf()?;
    let folder = util::target_dir().join("package");
    // What an earlier package left must not ship with this one.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for name in SHIPPED {
        for extension in ["sys", "pdb"] {
            let file = format!("{name}.{extension}");
            let source = images.join(&file);
            fs::copy(&source, folder.join(&file)).with_context(|| {
                format!(
                    "{} is missing: cargo xtask build makes it",
                    source.display()
                )
            })?;
        }
    }
    fs::write(folder.join("xenbus.inf"), stamped)?;
    Ok(folder)
}

/// The package's INF, filled and checked.
///
/// # Errors
///
/// A name has no sensible value, or the result does not list what ships.
pub(crate) fn stamped_inf() -> Result<String> {
    let template = util::root().join("inf/xenbus.inf.in");
    let text = fs::read_to_string(&template).with_context(|| template.display().to_string())?;
    let stamped = inf::stamp(&text, &values()?).with_context(|| template.display().to_string())?;
    check(&stamped).context("the stamped INF")?;
    Ok(stamped)
}

/// `registry.txt` of a rig guest: the package and the children of the tests installed, at its second boot.
///
/// # Errors
///
/// As [`stamped_inf`], or an INF does not install.
pub(crate) fn rig_registry() -> Result<String> {
    let mut packages = vec![stamped_inf()?];
    for child in [
        "tools/xensample/xensample.inf",
        "tools/xenprobe/xenprobe.inf",
        "tools/xenecho/xenecho.inf",
        "tools/cdriver/cchild/cchild.inf",
        "tools/xenbench/xenbench.inf",
        "tools/xenstress/xenstress.inf",
    ] {
        let path = util::root().join(child);
        packages.push(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
    }
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    Ok(inf::machine(&packages, true)?.to_string())
}

/// The INF must parse, install, and name exactly the images that ship.
fn check(stamped: &str) -> Result<()> {
    let parsed = Inf::parse(stamped)?;
    inf::registry_from_inf(&parsed)?;
    let listed = parsed
        .section("SourceDisksFiles")
        .context("it has no [SourceDisksFiles]")?;
    let mut listed: Vec<_> = listed
        .lines
        .iter()
        .filter_map(|line| line.key.clone())
        .collect();
    let mut shipped: Vec<_> = SHIPPED.iter().map(|name| format!("{name}.sys")).collect();
    listed.sort();
    shipped.sort();
    ensure!(
        listed == shipped,
        "it lists {listed:?}, the package has {shipped:?}"
    );
    Ok(())
}

/// What stands between the folder and an installation.
fn missing_steps() -> &'static str {
    if cfg!(windows) {
        "not signed: make the catalogue (inf2cat /driver:<folder> /os:10_x64), then sign catalogue and images (signtool)"
    } else {
        "not signed, no catalogue: both take the Windows kit (inf2cat /driver:<folder> /os:10_x64, then signtool); \
         until then Windows installs it in test mode only after a test signature"
    }
}

fn values() -> Result<Values> {
    let vendor_device = variable("VENDOR_DEVICE_ID", "");
    let hexadecimal =
        vendor_device.len() == 4 && vendor_device.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !vendor_device.is_empty() && !hexadecimal {
        bail!("VENDOR_DEVICE_ID is {vendor_device:?}, not four hexadecimal digits");
    }
    Ok(Values::from([
        ("DRIVER_DATE", date()?),
        ("DRIVER_VERSION", version()?),
        ("VENDOR_NAME", variable("VENDOR_NAME", "Xen Project")),
        ("PRODUCT_NAME", variable("PRODUCT_NAME", "Xen")),
        ("VENDOR_DEVICE_ID", vendor_device),
        ("FORCE_ACTIVATE", variable("FORCE_ACTIVATE", "")),
    ]))
}

/// Package version and build number, as the images carry them.
fn version() -> Result<String> {
    let build = variable("BUILD_NUMBER", "0");
    // The four parts of a version resource are 16-bit numbers.
    let number: u16 = build
        .parse()
        .with_context(|| format!("BUILD_NUMBER is {build:?}"))?;
    Ok(format!("{}.{number}", env!("CARGO_PKG_VERSION")))
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The date of the sources, `mm/dd/yyyy`.
fn date() -> Result<String> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => util::output(Command::new("git").arg("-C").arg(util::root()).args([
            "log",
            "-1",
            "--format=%ct",
        ]))
        .context("no date for the INF: set SOURCE_DATE_EPOCH outside a clone")?,
    };
    let seconds: u64 = seconds
        .trim()
        .parse()
        .with_context(|| format!("date {seconds:?} is no number of seconds"))?;
    let (year, month, day) = civil(seconds / 86_400);
    Ok(format!("{month:02}/{day:02}/{year:04}"))
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_780), (2026, 11, 23));
    }

    #[test]
    fn the_rig_gets_the_package_and_the_children() {
        let registry = rig_registry().unwrap();
        assert!(registry.contains(
            "\tSupportedClasses\tmulti_sz\tVIF|VBD|VKBD|IFACE|CONS|SAMPLE|PROBE|ECHO|CCHILD|BENCH|STRESS\n"
        ));
        assert!(registry.contains("\tUpperFilters\tmulti_sz\tXENFILT\n"));
    }

    #[test]
    fn an_inf_that_lists_other_files_is_refused() {
        let template = include_str!("../../../inf/xenbus.inf.in");
        let values = Values::from([
            ("DRIVER_DATE", "01/02/2026".to_owned()),
            ("DRIVER_VERSION", "10.0.0.1".to_owned()),
            ("VENDOR_NAME", "V".to_owned()),
            ("PRODUCT_NAME", "P".to_owned()),
            ("VENDOR_DEVICE_ID", String::new()),
            ("FORCE_ACTIVATE", String::new()),
        ]);
        let stamped = inf::stamp(template, &values).unwrap();
        check(&stamped).unwrap();
        assert!(stamped.contains("= 01/02/2026,10.0.0.1\r\n"));
        let other = stamped.replacen("xenfilt.sys             = 0", "other.sys = 0", 1);
        assert_ne!(other, stamped);
        assert!(check(&other).is_err());
    }
}
