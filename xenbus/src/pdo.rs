// SPDX-License-Identifier: BSD-2-Clause
//! The identity of a child: ids, texts, revisions. Pure functions, any IRQL.
//!
//! Byte-exact, because deployed child packages match on these strings. The device id names neither
//! revision nor PCI device, so that a device's path, and with it its settings, survives an upgrade of
//! the bus. Hardware ids name each revision served, newest first, or an older package would win.

use core::fmt::Write;

use heapless::{String, Vec};
use kexec::{Result, Status};

use crate::interfaces::REVISIONS;

/// Prefix of every vendor name.
pub const PREFIX: &str = "XP";
/// Answer to BusQueryInstanceID: one instance per class and system.
pub const INSTANCE_ID: &str = "_";
/// The last hardware id of every child.
const CLASS_ID: &str = "XENCLASS";
/// REGSTR_VAL_MAX_HCID_LEN: a list of ids, all terminators included, is shorter.
const LIST_MAX: usize = 1024;
/// Longest class name.
pub const CLASS_MAX: usize = 64;

/// One id or text.
pub type Id = String<112>;
/// All hardware ids of a child, newest revision first.
pub type IdList = Vec<Id, { REVISIONS.len() + 1 }>;
/// Name of a class, as it appears in ids.
pub type Class = String<CLASS_MAX>;

fn formatted(text: core::fmt::Arguments<'_>) -> Result<Id> {
    let mut id = Id::new();
    id.write_fmt(text).map_err(|_| Status::NAME_TOO_LONG)?;
    Ok(id)
}

/// Answer to BusQueryDeviceID.
///
/// # Errors
/// `NAME_TOO_LONG`, as for every function here.
pub fn device_id(class: &str) -> Result<Id> {
    formatted(format_args!("XENBUS\\VEN_{PREFIX}&DEV_{class}"))
}

/// Answer to BusQueryHardwareIDs and BusQueryCompatibleIDs.
///
/// # Errors
/// `NAME_TOO_LONG`, also when the list as a whole is.
pub fn hardware_ids(pci_device: u16, class: &str) -> Result<IdList> {
    let mut ids = IdList::new();
    for revision in REVISIONS.iter().rev() {
        let number = revision.number;
        let id = formatted(format_args!(
            "XENBUS\\VEN_{PREFIX}{pci_device:04X}&DEV_{class}&REV_{number:08X}"
        ))?;
        ids.push(id).map_err(|_| Status::NAME_TOO_LONG)?;
    }
    ids.push(formatted(format_args!("{CLASS_ID}"))?)
        .map_err(|_| Status::NAME_TOO_LONG)?;
    // Each id with its terminator, and the terminator of the list.
    let length = ids.iter().map(|id| id.len() + 1).sum::<usize>() + 1;
    if length >= LIST_MAX {
        return Err(Status::NAME_TOO_LONG);
    }
    Ok(ids)
}

/// Answer to DeviceTextDescription.
///
/// # Errors
/// `NAME_TOO_LONG`.
pub fn description(pci_device: u16, class: &str) -> Result<Id> {
    formatted(format_args!("{PREFIX}{pci_device:04X} XENBUS {class}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as StdVec;

    #[test]
    fn ids_of_a_network_class_are_byte_exact() {
        let id = device_id("VIF").expect("short");
        assert_eq!(id.as_str(), r"XENBUS\VEN_XP&DEV_VIF");
        let ids = hardware_ids(0x0001, "VIF").expect("short");
        let ids: StdVec<&str> = ids.iter().map(|id| id.as_str()).collect();
        assert_eq!(
            ids,
            [
                r"XENBUS\VEN_XP0001&DEV_VIF&REV_0900000C",
                r"XENBUS\VEN_XP0001&DEV_VIF&REV_0900000B",
                r"XENBUS\VEN_XP0001&DEV_VIF&REV_0900000A",
                r"XENBUS\VEN_XP0001&DEV_VIF&REV_09000009",
                r"XENBUS\VEN_XP0001&DEV_VIF&REV_09000008",
                "XENCLASS",
            ]
        );
        assert_eq!(INSTANCE_ID, "_");
        assert_eq!(
            description(0xC000, "VIF").expect("short").as_str(),
            "XPC000 XENBUS VIF"
        );
    }

    #[test]
    fn the_longest_class_still_fits_every_id() {
        let class: std::string::String = core::iter::repeat_n('X', CLASS_MAX).collect();
        assert!(device_id(&class).is_ok());
        assert!(hardware_ids(0xFFFF, &class).is_ok());
        let class = class + &"X".repeat(40);
        assert_eq!(device_id(&class), Err(Status::NAME_TOO_LONG));
        assert_eq!(
            hardware_ids(0xFFFF, &class).err(),
            Some(Status::NAME_TOO_LONG)
        );
    }
}
