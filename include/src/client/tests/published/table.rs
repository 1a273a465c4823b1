// SPDX-License-Identifier: BSD-2-Clause
//! The published table over the tree.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use kexec::nt::sys;
use kexec::{Result, Status};

use super::super::tree::Tree;
use crate::interface::{Boolean, Interface, KEvent, NtStatus, PCStr, PStr};
use crate::store::{Permission, Printf, StoreV2, Transaction, Watch};
use crate::store_async::{
    OP_DIRECTORY, OP_READ, OP_REMOVE, OP_TRANSACTION_ABORT, OP_TRANSACTION_COMMIT,
    OP_TRANSACTION_START, OP_WRITE,
};

/// Bytes of a buffer, whatever is in it.
const BUFFER: usize = 512;

/// A table without the asynchronous one beside it. The tree must outlive what is made from it.
pub(in super::super) fn table(tree: &Tree) -> StoreV2 {
    // SAFETY: every call passes one pointer as its variable argument; on this ABI a function that names it as a parameter is
    // called in the same way.
    let printf = unsafe { core::mem::transmute::<Formatted, Printf>(printf) };
    StoreV2 {
        interface: Interface::of::<StoreV2>(ptr::from_ref(tree).cast_mut().cast()),
        acquire,
        release,
        free,
        read,
        printf,
        permissions_set,
        remove,
        directory,
        transaction_start,
        transaction_end,
        watch_add,
        watch_remove,
        poll,
    }
}

/// The tree behind an interface.
///
/// # Safety
/// `this` is a copy of the table of a tree that lives.
unsafe fn tree<'a>(this: *mut Interface) -> &'a Tree {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: by the contract.
    unsafe { &*context.cast_const().cast::<Tree>() }
}

/// A copy of a text.
///
/// # Safety
/// `text` is terminated.
unsafe fn string(text: PStr) -> String {
    // SAFETY: by the contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().expect("text").to_owned()
}

fn status(result: Result<Vec<u8>>) -> NtStatus {
    result.map_or_else(Status::raw, |_| 0)
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called through the table.
    unsafe { tree(this) }.references(1);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    assert_eq!(tree.left(), 0, "released with something left");
    tree.references(-1);
}

unsafe extern "C" fn free(_this: *mut Interface, buffer: *mut c_char) {
    // SAFETY: from `fetch`, given back once.
    drop(unsafe { Box::from_raw(buffer.cast::<[u8; BUFFER]>()) });
}

/// Asks the tree and fills a buffer.
///
/// # Safety
/// As for the methods.
unsafe fn fetch(
    this: *mut Interface,
    operation: u32,
    transaction: *mut Transaction,
    node: PStr,
    buffer: *mut *mut c_char,
) -> NtStatus {
    // SAFETY: a terminated path.
    let path = unsafe { string(node) };
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    match tree.wait_for(operation, transaction as u64, path, String::new()) {
        // As the published table has it.
        Ok(names) if operation == OP_DIRECTORY && names.is_empty() => {
            Status::OBJECT_PATH_NOT_FOUND.raw()
        }
        Ok(data) => {
            let mut block = Box::new([0_u8; BUFFER]);
            block[..data.len()].copy_from_slice(&data);
            // SAFETY: the caller's place.
            unsafe { buffer.write(Box::into_raw(block).cast()) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn read(
    this: *mut Interface,
    transaction: *mut Transaction,
    _prefix: PStr,
    node: PStr,
    buffer: *mut *mut c_char,
) -> NtStatus {
    // SAFETY: passed on.
    unsafe { fetch(this, OP_READ, transaction, node, buffer) }
}

unsafe extern "C" fn directory(
    this: *mut Interface,
    transaction: *mut Transaction,
    _prefix: PStr,
    node: PStr,
    buffer: *mut *mut c_char,
) -> NtStatus {
    // SAFETY: passed on.
    unsafe { fetch(this, OP_DIRECTORY, transaction, node, buffer) }
}

type Formatted =
    unsafe extern "C" fn(*mut Interface, *mut Transaction, PStr, PStr, PCStr, PStr) -> NtStatus;

unsafe extern "C" fn printf(
    this: *mut Interface,
    transaction: *mut Transaction,
    _prefix: PStr,
    node: PStr,
    format: PCStr,
    value: PStr,
) -> NtStatus {
    // SAFETY: a terminated format.
    let format = unsafe { string(format) };
    assert_eq!(format, "%s");
    // SAFETY: a terminated path.
    let path = unsafe { string(node) };
    // SAFETY: a terminated value.
    let value = unsafe { string(value) };
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    status(tree.wait_for(OP_WRITE, transaction as u64, path, value))
}

unsafe extern "C" fn permissions_set(
    this: *mut Interface,
    _transaction: *mut Transaction,
    _prefix: PStr,
    node: PStr,
    permissions: *const Permission,
    number: u32,
) -> NtStatus {
    assert_eq!(number, 1);
    // SAFETY: one entry.
    let Permission { domain, mask } = unsafe { *permissions };
    // SAFETY: a terminated path.
    let path = unsafe { string(node) };
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    let (path, value) = (format!("{path}-permissions"), format!("{domain} {mask}"));
    status(tree.wait_for(OP_WRITE, 0, path, value))
}

unsafe extern "C" fn remove(
    this: *mut Interface,
    transaction: *mut Transaction,
    _prefix: PStr,
    node: PStr,
) -> NtStatus {
    // SAFETY: a terminated path.
    let path = unsafe { string(node) };
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    status(tree.wait_for(OP_REMOVE, transaction as u64, path, String::new()))
}

unsafe extern "C" fn transaction_start(
    this: *mut Interface,
    transaction: *mut *mut Transaction,
) -> NtStatus {
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    match tree.wait_for(OP_TRANSACTION_START, 0, String::new(), String::new()) {
        Ok(identity) => {
            let identity = u64::from_le_bytes(identity.try_into().expect("8 bytes"));
            // SAFETY: the caller's place.
            unsafe { transaction.write(identity as *mut Transaction) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn transaction_end(
    this: *mut Interface,
    transaction: *mut Transaction,
    commit: Boolean,
) -> NtStatus {
    let operation = match commit {
        0 => OP_TRANSACTION_ABORT,
        _ => OP_TRANSACTION_COMMIT,
    };
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    status(tree.wait_for(operation, transaction as u64, String::new(), String::new()))
}

/// Sets the KEVENT of a watch.
///
/// # Safety
/// It is that of a watch which is not removed.
unsafe extern "C" fn set(event: *mut c_void, _status: NtStatus) {
    // SAFETY: by the contract.
    unsafe { sys::KeSetEvent(event.cast(), 0, 0) };
}

unsafe extern "C" fn watch_add(
    this: *mut Interface,
    _prefix: PStr,
    node: PStr,
    event: *mut KEvent,
    watch: *mut *mut Watch,
) -> NtStatus {
    // SAFETY: a terminated path.
    let path = unsafe { string(node) };
    if path == "refused" {
        return Status::QUOTA_EXCEEDED.raw();
    }
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    let id = tree.watch(path, set, event as usize);
    // SAFETY: the caller's place.
    unsafe { watch.write(id as *mut Watch) };
    0
}

unsafe extern "C" fn watch_remove(this: *mut Interface, watch: *mut Watch) -> NtStatus {
    // SAFETY: called through the table.
    unsafe { tree(this) }.unwatch(watch as u64);
    0
}

unsafe extern "C" fn poll(_this: *mut Interface) {}
