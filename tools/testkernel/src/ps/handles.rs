// SPDX-License-Identifier: BSD-2-Clause
//! The one handle table. Handles are kernel handles: multiples of 4 with the sign bit set, as on NT.

use alloc::string::String;
use alloc::vec::Vec;

use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

/// What a handle names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    /// A thread object; the handle holds a reference.
    Thread(Ptr),
    /// A registry key, by the configuration manager's own number.
    Key(u64),
    /// A named event.
    Event(Ptr),
}

struct Entry {
    object: Object,
    owner: String,
}

static TABLE: Lock<Vec<Option<Entry>>> = Lock::new(Vec::new());

const BASE: usize = 0xffff_ffff_8000_0000;

fn index(handle: usize) -> Option<usize> {
    (handle >= BASE && handle.is_multiple_of(4))
        .then(|| (handle - BASE) / 4)
        .and_then(|i| i.checked_sub(1))
}

/// Makes a handle; it belongs to the calling driver.
pub fn insert(object: Object) -> usize {
    let owner = verifier::caller().driver;
    let mut table = TABLE.lock();
    let slot = match table.iter().position(Option::is_none) {
        Some(free) => free,
        None => {
            table.push(None);
            table.len() - 1
        }
    };
    table[slot] = Some(Entry { object, owner });
    BASE + (slot + 1) * 4
}

/// What a handle names; `None` for a handle that is not open.
pub fn lookup(handle: usize) -> Option<Object> {
    let table = TABLE.lock();
    table.get(index(handle)?)?.as_ref().map(|e| e.object)
}

/// Closes a handle and returns what it named; the caller drops what the object holds.
pub fn remove(handle: usize) -> Option<Object> {
    let mut table = TABLE.lock();
    table.get_mut(index(handle)?)?.take().map(|e| e.object)
}

/// The handles that `driver` left open.
pub fn left_by(driver: &str) -> Vec<(usize, Object)> {
    let table = TABLE.lock();
    table
        .iter()
        .enumerate()
        .filter_map(|(i, e)| {
            e.as_ref()
                .filter(|e| e.owner == driver)
                .map(|e| (BASE + (i + 1) * 4, e.object))
        })
        .collect()
}
