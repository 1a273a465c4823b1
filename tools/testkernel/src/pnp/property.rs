// SPDX-License-Identifier: BSD-2-Clause
//! What drivers ask about a device: its properties and its registry keys. `PASSIVE_LEVEL`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::database;
use super::node::{self, Node};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::{cm, verifier};

fn text(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn list(texts: &[String]) -> Vec<u8> {
    let mut bytes: Vec<u8> = texts.iter().flat_map(|item| text(item)).collect();
    bytes.extend([0, 0]);
    bytes
}

/// The bytes of a `DEVICE_REGISTRY_PROPERTY`.
fn value(node: &Node, property: u32) -> Result<Vec<u8>, NtStatus> {
    let found = match property {
        0 => Some(text(&node.description)),
        1 => Some(list(&node.hardware_ids)),
        2 => Some(list(&node.compatible_ids)),
        4 => Some(node.resources.clone()).filter(|bytes| !bytes.is_empty()),
        5 => node.class.as_ref().map(|_| text("System")),
        6 => node.class.as_ref().map(|class| text(class)),
        7 => node
            .class
            .as_ref()
            .map(|class| text(&format!("{class}\\0000"))),
        8 => Some(text("(Standard system devices)")),
        9 => Some(text(&node.description)),
        0xA => Some(text(&node.location)).filter(|text| text.len() > 2),
        0xB => crate::io::names::of_device(node.pdo).map(|name| text(&name)),
        0xC => node.bus.map(|bus| bus[..16].to_vec()),
        0xD => node.bus.map(|bus| bus[16..20].to_vec()),
        0xE => node.bus.map(|bus| bus[20..24].to_vec()),
        0xF => node.path.split('\\').next().map(text),
        0x10 => Some(node.capabilities[2].to_le_bytes().to_vec()),
        0x11 => Some(node.capabilities[3].to_le_bytes().to_vec()),
        0x12 => Some(0u32.to_le_bytes().to_vec()),
        3 | 0x13..=0x17 => None,
        _ => return Err(status::INVALID_PARAMETER),
    };
    found.ok_or(status::OBJECT_NAME_NOT_FOUND)
}

fn node_of(pdo: Ptr) -> Node {
    match node::get(pdo) {
        Some(node) => node,
        None => verifier::fail(
            "not_a_pdo",
            format_args!("{pdo} is not a physical device object"),
        ),
    }
}

pub(super) extern "win64" fn get(
    pdo: Ptr,
    property: u32,
    length: u32,
    buffer: Ptr,
    needed: Ptr,
) -> NtStatus {
    match value(&node_of(pdo), property) {
        Ok(bytes) => {
            needed.set(0, bytes.len() as u32);
            if (length as usize) < bytes.len() {
                return status::BUFFER_TOO_SMALL;
            }
            buffer.copy_from(&bytes);
            status::SUCCESS
        }
        Err(code) => {
            needed.set(0, 0u32);
            code
        }
    }
}

pub(super) fn open(path: &str, handle: Ptr) -> NtStatus {
    match cm::open_absolute(path) {
        Ok(value) => {
            handle.set(0, value);
            status::SUCCESS
        }
        Err(code) => code,
    }
}

pub(super) extern "win64" fn open_device_key(
    pdo: Ptr,
    kind: u32,
    _access: u32,
    handle: Ptr,
) -> NtStatus {
    const DEVICE: u32 = 1;
    const DRIVER: u32 = 2;
    let node = node_of(pdo);
    match (kind & 3, node.class) {
        (DEVICE, _) => open(
            &format!("{}\\Device Parameters", database::enum_key(&node.path)),
            handle,
        ),
        (DRIVER, Some(class)) => open(&format!("{}\\0000", database::class_key(&class)), handle),
        (DRIVER, None) => status::OBJECT_NAME_NOT_FOUND,
        _ => status::INVALID_PARAMETER,
    }
}
