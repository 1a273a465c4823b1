// SPDX-License-Identifier: BSD-2-Clause
//! The registry around a package: what Windows has before, and what xenbus.sys adds at its first start.

use crate::{Data, Inf, Registry, Result, install};

const CONTROL_SET: &str = "\\Registry\\Machine\\System\\CurrentControlSet";

/// The setup classes whose stacks the filter sees: System, and IDE controllers and channels.
const FILTERED_CLASSES: [(&str, &str); 2] = [
    ("{4d36e97d-e325-11ce-bfc1-08002be10318}", "System"),
    ("{4d36e96a-e325-11ce-bfc1-08002be10318}", "hdc"),
];

/// What the drivers expect of Windows before any package is installed.
///
/// # Panics
///
/// Never: all names are constants of this module.
#[must_use]
pub fn base_registry() -> Registry {
    let mut registry = Registry::new();
    fill(&mut registry).expect("constant names are printable");
    registry
}

fn fill(registry: &mut Registry) -> Result {
    let control = format!("{CONTROL_SET}\\Control");
    registry.set(
        &control,
        "SystemStartOptions",
        Data::Sz(" NOEXECUTE=OPTIN".into()),
    )?;
    registry.set(
        &format!("{control}\\TimeZoneInformation"),
        "RealTimeIsUniversal",
        Data::Dword(1),
    )?;
    for (guid, name) in FILTERED_CLASSES {
        let key = format!("{control}\\Class\\{guid}");
        registry.set(&key, "Class", Data::Sz(name.into()))?;
    }
    registry.create(&format!("{CONTROL_SET}\\Services"))?;
    registry.create(&format!("{CONTROL_SET}\\Enum"))
}

/// A machine's registry: the base, then each of `infs` (texts) installed in order; with `second_boot` also
/// what xenbus.sys left behind at its first start.
///
/// # Errors
///
/// An INF does not parse or install.
pub fn machine(infs: &[&str], second_boot: bool) -> Result<Registry> {
    let mut registry = base_registry();
    for text in infs {
        install(&Inf::parse(text)?, &mut registry)?;
    }
    if second_boot {
        after_first_start(&mut registry)?;
    }
    Ok(registry)
}

/// Adds what xenbus.sys leaves behind at its first start: the class filter XENFILT. A machine is in
/// this state from its second boot on.
///
/// # Errors
///
/// `UpperFilters` exists with a type other than REG_MULTI_SZ.
pub fn after_first_start(registry: &mut Registry) -> Result {
    for (guid, _) in FILTERED_CLASSES {
        let key = format!("{CONTROL_SET}\\Control\\Class\\{guid}");
        registry.append(&key, "UpperFilters", &["XENFILT".to_owned()])?;
    }
    Ok(())
}
