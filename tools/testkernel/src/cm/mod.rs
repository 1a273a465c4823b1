// SPDX-License-Identifier: BSD-2-Clause
//! `cm`: the configuration manager, an in-memory registry.
//!
//! [`tree`] holds keys and values, [`info`] builds the records that queries return, [`text`] reads the
//! content given at boot, `calls` is the edge to drivers. One lock guards the tree; it is held for a lookup or
//! a change, never over a driver. Everything that drivers call runs at `PASSIVE_LEVEL`.

mod calls;
mod info;
mod status;
mod text;
pub(crate) mod tree;

use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use calls::EXPORTS;
pub(crate) use calls::open_absolute;

use crate::sync::Lock;
use tree::{Registry, wide};

static REGISTRY: Lock<Option<Registry>> = Lock::new(None);

/// System time, for the last-write time of keys.
fn now() -> i64 {
    // The shared user data page, which the clock keeps up to date.
    if cfg!(target_os = "none") {
        crate::mem::Ptr(0xFFFF_F780_0000_0014).get(0)
    } else {
        0
    }
}

/// Runs `f` on the registry.
fn with<T>(f: impl FnOnce(&mut Registry) -> T) -> T {
    f(REGISTRY.lock().get_or_insert_with(Registry::new))
}

/// Fills the registry from `registry.txt`; says what is wrong with it. Called once, before any driver.
pub fn init(registry: &str) -> Result<(), String> {
    with(|tree| text::load(tree, registry))
}

/// The kernel's own view: the data of a value of an absolute key, and its type.
pub fn read(key: &str, value: &str) -> Option<(u32, Vec<u8>)> {
    with(|tree| {
        let id = tree.open(None, &wide(key)).ok()?;
        let found = tree.value(id, &wide(value)).ok()?;
        Some((found.kind, found.data.clone()))
    })
}

/// Reads a string value.
pub fn read_text(key: &str, value: &str) -> Option<String> {
    read_list(key, value)?.into_iter().next()
}

/// Reads a string or multi-string value as a list.
pub fn read_list(key: &str, value: &str) -> Option<Vec<String>> {
    let (_, data) = read(key, value)?;
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|two| u16::from_le_bytes([two[0], two[1]]))
        .collect();
    let items = units
        .split(|unit| *unit == 0)
        .filter(|item| !item.is_empty());
    Some(items.map(String::from_utf16_lossy).collect())
}

/// Creates a key with its parents.
pub fn create(key: &str) {
    with(|tree| {
        // A path of ours is absolute, the only thing that can be wrong with it.
        let _ = tree.create_all(&wide(key));
    });
}

/// Sets a string value of an absolute key, creating the key.
pub fn write_text(key: &str, value: &str, text: &str) {
    let data: Vec<u8> = text
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    write(key, value, 1, &data);
}

/// Sets a value of an absolute key, creating the key.
pub fn write(key: &str, value: &str, kind: u32, data: &[u8]) {
    with(|tree| {
        if let Ok(id) = tree.create_all(&wide(key)) {
            let _ = tree.set(id, &wide(value), kind, data, 0);
        }
    });
}

/// Copies the values and subkeys of one absolute key to another, which is created.
pub fn copy(from: &str, to: &str) {
    create(to);
    let (values, children) = with(|tree| {
        let Ok(id) = tree.open(None, &wide(from)) else {
            return (Vec::new(), Vec::new());
        };
        let Ok(key) = tree.key(id) else {
            return (Vec::new(), Vec::new());
        };
        let children = key
            .children
            .iter()
            .filter_map(|child| tree.key(*child).ok());
        (
            key.values.clone(),
            children
                .map(|child| String::from_utf16_lossy(&child.name))
                .collect(),
        )
    });
    for value in values {
        write(
            to,
            &String::from_utf16_lossy(&value.name),
            value.kind,
            &value.data,
        );
    }
    for child in children {
        copy(
            &alloc::format!("{from}\\{child}"),
            &alloc::format!("{to}\\{child}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_values_and_the_subkeys() {
        write_text(r"\Registry\Machine\CopyFrom\Sub", "Deep", "text");
        write(r"\Registry\Machine\CopyFrom", "Number", 4, &[1, 0, 0, 0]);
        copy(r"\Registry\Machine\CopyFrom", r"\Registry\Machine\CopyTo");
        let deep = read_text(r"\Registry\Machine\CopyTo\Sub", "Deep");
        assert_eq!(deep.as_deref(), Some("text"));
        let number = read(r"\Registry\Machine\CopyTo", "Number");
        assert_eq!(number, Some((4, [1, 0, 0, 0].to_vec())));
    }
}
