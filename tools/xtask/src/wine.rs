// SPDX-License-Identifier: BSD-2-Clause
//! Loads the driver images and installs the package in Wine: a loader, a service manager and setup functions written
//! by people who never saw our code. Wine runs off Xen, so the drivers have to come up, say so, and stay inert.
//!
//! Everything happens in a Wine prefix of its own under the target folder, made anew for every run; every step has a
//! time limit, and the session ends with [`Wine`]'s drop.

mod install;
mod load;
mod session;

use std::path::Path;

use anyhow::{Context, Result, bail};

pub(crate) use session::Wine;

/// What the off-Xen test expects of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The service, and the image's name without `.sys`.
    pub(crate) name: &'static str,
    /// A part of what it has to print when it starts; empty: Wine gives it no chance to print.
    pub(crate) message: &'static str,
}

/// The images in the order in which the test loads them.
///
/// Wine calls neither `DllInitialize` nor an entry point for xen.sys as an import; as a service of its own its entry
/// point runs as `DriverEntry`.
pub(crate) const EXPECTED: [Expected; 4] = [
    Expected { name: "xen", message: "" },
    Expected { name: "xenbus", message: "not on Xen" },
    Expected { name: "xenfilt", message: "not on Xen" },
    Expected { name: "xensample", message: "" },
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
    for expected in EXPECTED {
        let copied = wine.copy_drivers(images)?;
        if !copied.iter().any(|name| name == &format!("{}.sys", expected.name)) {
            bail!("{} has no {}.sys", images.display(), expected.name);
        }
        load::driver_stays_inert(&wine, &expected).with_context(|| format!("{}.sys in Wine", expected.name))?;
    }
    wine.remove_drivers()?;
    install::package(&wine, package, "xenbus.inf", "PCI\\VEN_5853&DEV_0001", target)
        .context("xenbus.inf in Wine's setup functions")?;
    println!("wine: {} images load and stay inert, xenbus.inf installs", EXPECTED.len());
    Ok(())
}
