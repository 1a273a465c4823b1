// SPDX-License-Identifier: BSD-2-Clause
//! The questions that the PnP manager asks a stack: ids, texts, capabilities, bus, requirements.
//!
//! Strings and lists come back in pool, which is freed here. `PASSIVE_LEVEL`.

use alloc::string::String;
use alloc::vec::Vec;

use super::node::{self, Node};
use crate::io::send::{pnp, pnp_with};
use crate::mem::Ptr;
use crate::{ex, status};

/// Minor codes of `IRP_MJ_PNP`.
pub mod minor {
    #![expect(missing_docs, reason = "named as in the DDK's headers, IRP_MN_...")]
    pub const START_DEVICE: u8 = 0x00;
    pub const QUERY_REMOVE_DEVICE: u8 = 0x01;
    pub const REMOVE_DEVICE: u8 = 0x02;
    pub const CANCEL_REMOVE_DEVICE: u8 = 0x03;
    pub const STOP_DEVICE: u8 = 0x04;
    pub const QUERY_STOP_DEVICE: u8 = 0x05;
    pub const CANCEL_STOP_DEVICE: u8 = 0x06;
    pub const QUERY_DEVICE_RELATIONS: u8 = 0x07;
    pub const QUERY_INTERFACE: u8 = 0x08;
    pub const QUERY_CAPABILITIES: u8 = 0x09;
    pub const QUERY_RESOURCES: u8 = 0x0A;
    pub const QUERY_RESOURCE_REQUIREMENTS: u8 = 0x0B;
    pub const QUERY_DEVICE_TEXT: u8 = 0x0C;
    pub const FILTER_RESOURCE_REQUIREMENTS: u8 = 0x0D;
    pub const READ_CONFIG: u8 = 0x0F;
    pub const WRITE_CONFIG: u8 = 0x10;
    pub const QUERY_ID: u8 = 0x13;
    pub const QUERY_PNP_DEVICE_STATE: u8 = 0x14;
    pub const QUERY_BUS_INFORMATION: u8 = 0x15;
    pub const DEVICE_USAGE_NOTIFICATION: u8 = 0x16;
    pub const SURPRISE_REMOVAL: u8 = 0x17;
}

const DEVICE_ID: u32 = 0;
const HARDWARE_IDS: u32 = 1;
const COMPATIBLE_IDS: u32 = 2;
const INSTANCE_ID: u32 = 3;
const TEXT_DESCRIPTION: u32 = 0;
const TEXT_LOCATION: u32 = 1;
const ENGLISH: u32 = 0x409;

/// Reads strings up to an empty one.
fn strings(at: Ptr) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = at;
    loop {
        let units = at.wstr();
        if units.is_empty() {
            return found;
        }
        found.push(String::from_utf16_lossy(&units));
        at = at.add(2 * units.len() + 2);
    }
}

/// Asks for something that comes back as a pointer to pool.
fn answer(pdo: Ptr, which: u8, fill: impl FnOnce(Ptr)) -> Ptr {
    let outcome = pnp(pdo, which, 0, fill);
    if status::success(outcome.status) {
        Ptr(outcome.information)
    } else {
        Ptr::NULL
    }
}

fn id(pdo: Ptr, which: u32, many: bool) -> Vec<String> {
    let text = answer(pdo, minor::QUERY_ID, |parameters| parameters.set(0, which));
    if text.is_null() {
        return Vec::new();
    }
    let found = if many {
        strings(text)
    } else {
        alloc::vec![String::from_utf16_lossy(&text.wstr())]
    };
    ex::pool::free(text);
    found
}

fn text(pdo: Ptr, which: u32) -> String {
    let text = answer(pdo, minor::QUERY_DEVICE_TEXT, |parameters| {
        parameters.set(0, which);
        parameters.set(8, ENGLISH);
    });
    if text.is_null() {
        return String::new();
    }
    let found = String::from_utf16_lossy(&text.wstr());
    ex::pool::free(text);
    found
}

/// Asks for `DEVICE_CAPABILITIES`.
pub fn capabilities(pdo: Ptr) -> [u32; 16] {
    let mut record = [0u32; 16];
    record[0] = 0x40 | 1 << 16;
    record[2] = u32::MAX;
    record[3] = u32::MAX;
    let at = Ptr(record.as_mut_ptr() as usize);
    pnp(pdo, minor::QUERY_CAPABILITIES, 0, |parameters| {
        parameters.set(0, at)
    });
    record
}

fn bus(pdo: Ptr) -> Option<[u8; 24]> {
    let record = answer(pdo, minor::QUERY_BUS_INFORMATION, |_| {});
    if record.is_null() {
        return None;
    }
    let mut copy = [0; 24];
    record.copy_to(&mut copy);
    ex::pool::free(record);
    Some(copy)
}

/// A short hash of the parent's path, which makes instance ids of buses without unique ones unique.
fn prefix(parent: Option<Ptr>) -> String {
    let path = parent
        .and_then(|parent| node::read(parent, |node| node.path.clone()))
        .unwrap_or_default();
    let depth = path.matches('\\').count() + 1;
    let hash = path.bytes().fold(0x811C_9DC5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    alloc::format!("{depth}&{hash:x}&0")
}

/// Asks everything about a new device and fills in its node. `Err` says what is missing.
pub fn identify(pdo: Ptr) -> Result<(), &'static str> {
    const UNIQUE_ID: u32 = 1 << 6;
    let device = id(pdo, DEVICE_ID, false)
        .pop()
        .filter(|id| !id.is_empty())
        .ok_or("no device id")?;
    let instance = id(pdo, INSTANCE_ID, false).pop().unwrap_or_default();
    let capabilities = capabilities(pdo);
    let parent = node::read(pdo, |node| node.parent).flatten();
    let instance = match capabilities[1] & UNIQUE_ID {
        0 if instance.is_empty() => prefix(parent),
        0 => alloc::format!("{}&{instance}", prefix(parent)),
        _ => instance,
    };
    let hardware_ids = id(pdo, HARDWARE_IDS, true);
    let compatible_ids = id(pdo, COMPATIBLE_IDS, true);
    let description = text(pdo, TEXT_DESCRIPTION);
    let location = text(pdo, TEXT_LOCATION);
    let bus = bus(pdo);
    let requirements = answer(pdo, minor::QUERY_RESOURCE_REQUIREMENTS, |_| {});
    node::update(pdo, |node: &mut Node| {
        node.path = alloc::format!("{device}\\{instance}");
        node.hardware_ids = hardware_ids;
        node.compatible_ids = compatible_ids;
        node.description = description;
        node.location = location;
        node.capabilities = capabilities;
        node.bus = bus;
        node.requirements = requirements;
    });
    Ok(())
}

/// A relations list with the device itself in it, or null when nobody asked for the probe.
fn probe_list(pdo: Ptr) -> Ptr {
    #[cfg(target_os = "none")]
    let wanted = crate::arch::boot_config();
    #[cfg(not(target_os = "none"))]
    let wanted = crate::config::Config::default();
    let service = node::read(pdo, |node| node.service.clone()).flatten();
    if service.is_none() || wanted.get("relations_probe") != service.as_deref() {
        return Ptr::NULL;
    }
    let list = ex::pool::allocate(16, u32::from_le_bytes(*b"PpRe"));
    if !list.is_null() {
        crate::ob::reference(pdo);
        list.set(0, 1u32);
        list.set(8, pdo);
    }
    list
}

/// Asks a bus for its devices: referenced device objects, or `None` when it does not answer.
///
/// With `relations_probe=SERVICE` the request to that driver comes with a list, as from a filter above, of one device: the bus itself. It must still be
/// there in the answer, and is taken out.
pub fn relations(pdo: Ptr) -> Option<Vec<Ptr>> {
    let from_above = probe_list(pdo);
    let before = if from_above.is_null() {
        status::NOT_SUPPORTED
    } else {
        status::SUCCESS
    };
    let outcome = pnp_with(
        pdo,
        minor::QUERY_DEVICE_RELATIONS,
        (before, from_above.0),
        |parameters| parameters.set(0, 0u32),
    );
    let list = if status::success(outcome.status) {
        Ptr(outcome.information)
    } else {
        Ptr::NULL
    };
    if list.is_null() {
        return None;
    }
    let count = list.get::<u32>(0) as usize;
    let mut devices: Vec<Ptr> = (0..count).map(|index| list.ptr(8 + 8 * index)).collect();
    ex::pool::free(list);
    if !from_above.is_null() {
        match devices.iter().position(|device| *device == pdo) {
            Some(at) => crate::ob::dereference(devices.remove(at)),
            None => crate::verifier::fail(
                "relations_dropped",
                format_args!("{pdo}: the answer is without what a driver above reported"),
            ),
        }
    }
    Some(devices)
}
