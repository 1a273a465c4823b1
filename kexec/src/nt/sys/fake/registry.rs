// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's registry: an ordered map of case-folded paths.
#![expect(
    unsafe_code,
    reason = "arguments come as raw pointers, as in the real kernel"
)]

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use super::{Handle, Kernel, State, at_most};
use crate::Status;
use crate::nt::sys::*;

/// A registry value as tests write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// REG_SZ.
    Sz(String),
    /// REG_DWORD.
    Dword(u32),
    /// REG_MULTI_SZ.
    MultiSz(Vec<String>),
    /// Anything else: type and bytes.
    Raw(u32, Vec<u8>),
}

/// One key: its name as created, and its values.
#[derive(Default)]
pub(in crate::nt::sys) struct KeyNode {
    name: String,
    values: Vec<(String, u32, Vec<u8>)>,
}

fn wide(text: &str, out: &mut Vec<u8>) {
    for unit in text.encode_utf16().chain([0]) {
        out.extend_from_slice(&unit.to_le_bytes());
    }
}

fn text(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16_lossy(&units)
}

fn encode(value: &Value) -> (u32, Vec<u8>) {
    let mut bytes = Vec::new();
    match value {
        Value::Sz(s) => {
            wide(s, &mut bytes);
            (1, bytes)
        }
        Value::Dword(n) => (4, n.to_le_bytes().to_vec()),
        Value::MultiSz(items) => {
            items.iter().for_each(|item| wide(item, &mut bytes));
            bytes.extend_from_slice(&[0, 0]);
            (7, bytes)
        }
        Value::Raw(kind, raw) => (*kind, raw.clone()),
    }
}

fn decode(kind: u32, bytes: &[u8]) -> Value {
    match (kind, bytes) {
        (1, _) => Value::Sz(text(bytes).trim_end_matches('\0').to_owned()),
        (4, [a, b, c, d]) => Value::Dword(u32::from_le_bytes([*a, *b, *c, *d])),
        (7, _) => Value::MultiSz(
            text(bytes)
                .split('\0')
                .filter(|item| !item.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
        ),
        _ => Value::Raw(kind, bytes.to_vec()),
    }
}

fn create(state: &mut State, path: &str) -> bool {
    let folded = path.to_lowercase();
    if state.registry.contains_key(&folded) {
        return false;
    }
    if let Some((parent, _)) = path
        .rsplit_once('\\')
        .filter(|(parent, _)| !parent.is_empty())
    {
        create(state, parent);
    }
    let name = path.rsplit('\\').next().unwrap_or_default().to_owned();
    state.registry.insert(
        folded,
        KeyNode {
            name,
            values: Vec::new(),
        },
    );
    true
}

fn put(node: &mut KeyNode, name: &str, kind: u32, bytes: Vec<u8>) {
    node.values
        .retain(|(have, ..)| !have.eq_ignore_ascii_case(name));
    node.values.push((name.to_owned(), kind, bytes));
}

pub(super) fn set(state: &mut State, key: &str, name: &str, value: &Value) {
    create(state, key);
    let (kind, bytes) = encode(value);
    if let Some(node) = state.registry.get_mut(&key.to_lowercase()) {
        put(node, name, kind, bytes);
    }
}

pub(super) fn get(state: &State, key: &str, name: &str) -> Option<Value> {
    let node = state.registry.get(&key.to_lowercase())?;
    let (_, kind, bytes) = node
        .values
        .iter()
        .find(|(have, ..)| have.eq_ignore_ascii_case(name))?;
    Some(decode(*kind, bytes))
}

fn string(view: *const UNICODE_STRING) -> String {
    // SAFETY: a valid UNICODE_STRING by contract of every caller.
    let view = unsafe { view.read() };
    if view.Length == 0 {
        return String::new();
    }
    // SAFETY: Buffer holds Length bytes.
    let units = unsafe { core::slice::from_raw_parts(view.Buffer, usize::from(view.Length) / 2) };
    String::from_utf16_lossy(units)
}

fn path(state: &State, attributes: *const OBJECT_ATTRIBUTES) -> Result<String, Status> {
    // SAFETY: valid attributes by contract of every caller.
    let attributes = unsafe { attributes.read() };
    assert!(
        attributes.Attributes & 0x200 != 0,
        "Zw*Key: not a kernel handle"
    );
    let name = string(attributes.ObjectName);
    if attributes.RootDirectory.is_null() {
        return Ok(name);
    }
    match state.handles.get(&(attributes.RootDirectory as usize)) {
        Some(Handle::Key(root)) => Ok(std::format!("{root}\\{name}")),
        _ => Err(Status::INVALID_HANDLE),
    }
}

fn open(state: &mut State, path: String) -> HANDLE {
    let value = state.next_handle;
    state.next_handle += 4;
    state.handles.insert(value, Handle::Key(path));
    value as HANDLE
}

fn key_of(state: &State, handle: HANDLE) -> Result<String, Status> {
    match state.handles.get(&(handle as usize)) {
        Some(Handle::Key(path)) => Ok(path.to_lowercase()),
        _ => Err(Status::INVALID_HANDLE),
    }
}

/// Copies `found` into the caller's buffer with the size protocol of the Zw query functions.
fn answer(found: &[u8], fixed: usize, data: PVOID, length: u32, result: *mut u32) -> NTSTATUS {
    // SAFETY: a valid pointer by contract.
    unsafe { result.write(found.len() as u32) };
    let length = length as usize;
    if length < fixed {
        return Status::BUFFER_TOO_SMALL.raw();
    }
    let count = length.min(found.len());
    // SAFETY: the caller's buffer has `length` bytes.
    unsafe { core::ptr::copy_nonoverlapping(found.as_ptr(), data.cast(), count) };
    if count < found.len() {
        Status::BUFFER_OVERFLOW.raw()
    } else {
        0
    }
}

pub(super) mod api {
    #![expect(non_snake_case, reason = "the names of the NT headers")]
    #![expect(
        clippy::missing_safety_doc,
        reason = "raw NT functions; their contract is the platform's documentation"
    )]
    use super::*;

    fn run(call: &str, f: impl FnOnce(&mut State) -> Result<NTSTATUS, Status>) -> NTSTATUS {
        at_most(call, 0);
        let kernel = Kernel::current();
        let mut state = kernel.lock();
        f(&mut state).unwrap_or_else(Status::raw)
    }

    pub unsafe fn ZwOpenKey(
        handle: *mut HANDLE,
        _access: u32,
        attributes: *mut OBJECT_ATTRIBUTES,
    ) -> NTSTATUS {
        run("ZwOpenKey", |state| {
            let path = path(state, attributes)?;
            if !state.registry.contains_key(&path.to_lowercase()) {
                return Err(Status::OBJECT_NAME_NOT_FOUND);
            }
            let opened = open(state, path);
            // SAFETY: a valid pointer by contract.
            unsafe { handle.write(opened) };
            Ok(0)
        })
    }

    pub unsafe fn ZwCreateKey(
        handle: *mut HANDLE,
        _access: u32,
        attributes: *mut OBJECT_ATTRIBUTES,
        _index: u32,
        _class: *mut UNICODE_STRING,
        _options: u32,
        disposition: *mut u32,
    ) -> NTSTATUS {
        run("ZwCreateKey", |state| {
            let path = path(state, attributes)?;
            let parent = path
                .rsplit_once('\\')
                .map(|(parent, _)| parent.to_lowercase())
                .unwrap_or_default();
            if !state.registry.contains_key(&parent) {
                return Err(Status::OBJECT_NAME_NOT_FOUND);
            }
            let fresh = create(state, &path);
            let opened = open(state, path);
            if !disposition.is_null() {
                // SAFETY: not NULL, so valid by contract.
                unsafe { disposition.write(if fresh { 1 } else { 2 }) };
            }
            // SAFETY: a valid pointer by contract.
            unsafe { handle.write(opened) };
            Ok(0)
        })
    }

    pub unsafe fn ZwQueryValueKey(
        key: HANDLE,
        name: *mut UNICODE_STRING,
        class: u32,
        data: PVOID,
        length: u32,
        result: *mut u32,
    ) -> NTSTATUS {
        run("ZwQueryValueKey", |state| {
            assert!(
                class == 2,
                "ZwQueryValueKey: only KeyValuePartialInformation is used"
            );
            let path = key_of(state, key)?;
            let name = string(name);
            let node = state
                .registry
                .get(&path)
                .ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
            let found = node
                .values
                .iter()
                .find(|(have, ..)| have.eq_ignore_ascii_case(&name));
            let (_, kind, bytes) = found.ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
            let mut out = Vec::new();
            for word in [0, *kind, bytes.len() as u32] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(bytes);
            Ok(answer(&out, 12, data, length, result))
        })
    }

    pub unsafe fn ZwSetValueKey(
        key: HANDLE,
        name: *mut UNICODE_STRING,
        _index: u32,
        kind: u32,
        data: PVOID,
        length: u32,
    ) -> NTSTATUS {
        run("ZwSetValueKey", |state| {
            let path = key_of(state, key)?;
            let name = string(name);
            let bytes = if length == 0 {
                Vec::new()
            } else {
                // SAFETY: the caller's buffer has `length` bytes.
                unsafe { core::slice::from_raw_parts(data.cast::<u8>(), length as usize) }.to_vec()
            };
            let node = state
                .registry
                .get_mut(&path)
                .ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
            put(node, &name, kind, bytes);
            Ok(0)
        })
    }

    pub unsafe fn ZwDeleteValueKey(key: HANDLE, name: *mut UNICODE_STRING) -> NTSTATUS {
        run("ZwDeleteValueKey", |state| {
            let path = key_of(state, key)?;
            let name = string(name);
            let node = state
                .registry
                .get_mut(&path)
                .ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
            let before = node.values.len();
            node.values
                .retain(|(have, ..)| !have.eq_ignore_ascii_case(&name));
            if node.values.len() == before {
                Err(Status::OBJECT_NAME_NOT_FOUND)
            } else {
                Ok(0)
            }
        })
    }

    pub unsafe fn ZwEnumerateKey(
        key: HANDLE,
        index: u32,
        class: u32,
        data: PVOID,
        length: u32,
        result: *mut u32,
    ) -> NTSTATUS {
        run("ZwEnumerateKey", |state| {
            assert!(
                class == 0,
                "ZwEnumerateKey: only KeyBasicInformation is used"
            );
            let prefix = std::format!("{}\\", key_of(state, key)?);
            let mut children = state.registry.iter().filter(|(path, _)| {
                path.strip_prefix(&prefix)
                    .is_some_and(|rest| !rest.contains('\\'))
            });
            let (_, node) = children
                .nth(index as usize)
                .ok_or(Status::NO_MORE_ENTRIES)?;
            let units: Vec<u8> = node
                .name
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            let mut out = std::vec![0_u8; 12];
            out.extend_from_slice(&(units.len() as u32).to_le_bytes());
            out.extend_from_slice(&units);
            Ok(answer(&out, 16, data, length, result))
        })
    }
}
