// SPDX-License-Identifier: BSD-2-Clause
//! Loads the driver images and installs the package in Wine: a loader, a service manager and setup functions written
//! by people who never saw our code. Wine runs off Xen, so the drivers have to come up, say so, and stay inert.
//!
//! Everything happens in a Wine prefix of its own under the target folder, made anew for every run; every step has a
//! time limit, and the session ends with [`Wine`]'s drop.

mod helper;
mod install;
mod load;
mod session;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::util;
pub(crate) use session::Wine;

/// What the off-Xen test expects of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The service, and the image's name without `.sys`.
    pub(crate) name: &'static str,
    /// What has to be in its lines: each in exactly one. Nothing else may be printed.
    pub(crate) lines: &'static [&'static str],
    /// Whether it has an unload routine; without one it stays, as on Windows.
    pub(crate) stops: bool,
}

/// The images in the order in which the test loads them.
///
/// xen.sys comes twice: as a service its entry point runs, which does nothing; and `caller`, a C driver of this test,
/// calls its `DllInitialize`, which Wine does not call for an import.
pub(crate) const EXPECTED: [Expected; 5] = [
    Expected {
        name: "xen",
        lines: &[],
        stops: false,
    },
    Expected {
        name: "caller",
        lines: &[
            "xen: not running on Xen, staying inert",
            "xen: caller is version 1.2.3.4 but xen.sys is 10.",
            "caller: DllInitialize 00000000, mixed XenTouch c0000424",
        ],
        stops: false,
    },
    Expected {
        name: "xenbus",
        lines: &["xenbus: not on Xen, staying inert"],
        stops: false,
    },
    Expected {
        name: "xenfilt",
        lines: &["xenfilt: not on Xen, staying inert"],
        stops: true,
    },
    Expected {
        name: "xensample",
        lines: &[],
        stops: true,
    },
];

/// Runs the whole Wine test: `images` has the `.sys` files, `package` the folder that `cargo xtask package` made,
/// `target` is where the prefix goes.
///
/// # Errors
///
/// Wine is missing, a step takes too long, or the first thing that is not as it must be.
pub(crate) fn test(images: &Path, package: &Path, target: &Path) -> Result<()> {
    let wine = Wine::start(target)?;
    load::refuses_what_is_no_image(&wine)?;
    let mut copied = wine.copy_drivers(images)?;
    let caller = helper::caller_driver(target)?;
    fs::copy(&caller, wine.drivers().join("caller.sys"))
        .with_context(|| caller.display().to_string())?;
    copied.push("caller.sys".to_owned());
    for expected in EXPECTED {
        if !copied
            .iter()
            .any(|name| name == &format!("{}.sys", expected.name))
        {
            bail!("{} has no {}.sys", images.display(), expected.name);
        }
        load::driver_stays_inert(&wine, &expected)
            .with_context(|| format!("{}.sys in Wine", expected.name))?;
    }
    wine.remove_drivers()?;
    let mut setup = install::Setup::new(&wine, target)?;
    for (inf, folder, id) in [
        (
            package.join("xenbus.inf"),
            package,
            "PCI\\VEN_5853&DEV_0001",
        ),
        (
            util::root().join("tools/xensample/xensample.inf"),
            images,
            "XENBUS\\VEN_XP0001&DEV_SAMPLE&REV_0900000C",
        ),
    ] {
        setup
            .install(&inf, folder, id)
            .with_context(|| format!("{} in Wine's setup functions", inf.display()))?;
    }
    println!(
        "wine: {} images load and stay inert, both INFs install",
        EXPECTED.len()
    );
    Ok(())
}
