// SPDX-License-Identifier: BSD-2-Clause
//! Which driver serves a device: the driver database in the registry, and what the Enum and Class keys say.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::node::Node;
use crate::cm;

const CONTROL: &str = r"\Registry\Machine\System\CurrentControlSet\Control";
const ENUM: &str = r"\Registry\Machine\System\CurrentControlSet\Enum";
/// The class of system devices.
pub const SYSTEM_CLASS: &str = "{4d36e97d-e325-11ce-bfc1-08002be10318}";

/// What serves a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The database's key for the id that matched; none for a driver of the kernel's.
    pub key: Option<String>,
    /// The function driver's service.
    pub service: String,
    /// The set-up class, for class filters.
    pub class: Option<String>,
}

/// Finds the first id that a driver is known for.
pub fn find(node: &Node) -> Option<Match> {
    node.hardware_ids
        .iter()
        .chain(&node.compatible_ids)
        .find_map(|id| {
            let key = format!(
                "{CONTROL}\\TestKernel\\DriverDatabase\\{}",
                id.replace('\\', "#")
            );
            match cm::read_text(&key, "Service") {
                Some(service) => {
                    let class = cm::read_text(&key, "ClassGuid");
                    Some(Match {
                        key: Some(key),
                        service,
                        class,
                    })
                }
                // What Windows has in its box.
                None if id == "*PNP0A03" => Some(Match {
                    key: None,
                    service: "pci".to_string(),
                    class: Some(SYSTEM_CLASS.to_string()),
                }),
                None => None,
            }
        })
}

/// The key of a device.
pub fn enum_key(path: &str) -> String {
    format!("{ENUM}\\{path}")
}

/// The key of a set-up class.
pub fn class_key(class: &str) -> String {
    format!("{CONTROL}\\Class\\{class}")
}

/// Filters of one kind (`LowerFilters`, `UpperFilters`): those of the device, and those of its class.
pub fn filters(node: &Node, kind: &str) -> (Vec<String>, Vec<String>) {
    let device = cm::read_list(&enum_key(&node.path), kind).unwrap_or_default();
    let class = node
        .class
        .as_ref()
        .and_then(|class| cm::read_list(&class_key(class), kind));
    (device, class.unwrap_or_default())
}

fn multi(texts: &[String]) -> Vec<u8> {
    let units = texts.iter().flat_map(|text| text.encode_utf16().chain([0]));
    units.chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Records a device in the Enum tree, as set-up does; `from` is the database's key, if it is there.
pub fn record(node: &Node, from: Option<&str>) {
    let key = enum_key(&node.path);
    let parameters = format!("{key}\\Device Parameters");
    match from {
        Some(from) => cm::copy(&format!("{from}\\Device Parameters"), &parameters),
        None => cm::create(&parameters),
    }
    let description = from.and_then(|from| cm::read_text(from, "DeviceDesc"));
    cm::write(&key, "HardwareID", 7, &multi(&node.hardware_ids));
    cm::write(&key, "CompatibleIDs", 7, &multi(&node.compatible_ids));
    cm::write_text(
        &key,
        "DeviceDesc",
        description.as_ref().unwrap_or(&node.description),
    );
    cm::write_text(&key, "LocationInformation", &node.location);
    if let Some(service) = &node.service {
        cm::write_text(&key, "Service", service);
    }
    if let Some(class) = &node.class {
        cm::write_text(&key, "ClassGUID", class);
        cm::write_text(&key, "Driver", &format!("{class}\\0000"));
        cm::create(&format!("{}\\0000", class_key(class)));
    }
}
