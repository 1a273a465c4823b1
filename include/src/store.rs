// SPDX-License-Identifier: BSD-2-Clause
//! The published STORE interface, version 2.
//!
//! Every method takes the requester's copy of the table as its first argument. All run at
//! `<= DISPATCH_LEVEL`, with pointers to resident memory when called at `DISPATCH_LEVEL`;
//! [`StoreV2::poll`] runs at `DISPATCH_LEVEL` exactly. A reference (`acquire`) must be held for every
//! other method, and all watches, transactions and buffers be gone before the last `release`.

use core::ffi::c_char;
use core::mem::{offset_of, size_of};

use crate::interface::{Boolean, Guid, Interface, NtStatus, PCStr, PStr, table};

/// `GUID_XENBUS_STORE_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x86824C3B_D34E_4753_B281_2F1E3AD214D7);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 2;
/// Newest version answered.
pub const VERSION_MAX: u16 = 2;

/// Longest absolute path, its NUL included.
pub const ABSOLUTE_PATH_MAX: usize = 3072;
/// Longest relative path, its NUL included.
pub const RELATIVE_PATH_MAX: usize = 2048;
/// Longest payload of one request or reply.
pub const PAYLOAD_MAX: usize = 4096;

/// `XENBUS_STORE_TRANSACTION`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Transaction {
    _opaque: [u8; 0],
}

/// `XENBUS_STORE_WATCH`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Watch {
    _opaque: [u8; 0],
}

/// `XENBUS_STORE_PERMISSION_MASK`: a union of bits.
pub type PermissionMask = u32;
/// `XENBUS_STORE_PERM_NONE`.
pub const PERM_NONE: PermissionMask = 0;
/// `XENBUS_STORE_PERM_READ`.
pub const PERM_READ: PermissionMask = 1;
/// `XENBUS_STORE_PERM_WRITE`.
pub const PERM_WRITE: PermissionMask = 2;

/// `XENBUS_STORE_PERMISSION`: what one domain may do with a node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain; in the first entry of a list, the owner.
    pub domain: u16,
    /// Union of `PERM_` bits; for the owner, the access of every domain not listed.
    pub mask: PermissionMask,
}

const _: () = {
    assert!(size_of::<Permission>() == 8);
    assert!(offset_of!(Permission, mask) == 4);
};

pub use crate::interface::KEvent;

/// `StoreAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `StoreRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `StoreFree`: gives back a buffer of `StoreRead` or `StoreDirectory`.
pub type Free = unsafe extern "C" fn(this: *mut Interface, buffer: *mut c_char);
/// `StoreRead`: on success the buffer holds the value and two NULs.
pub type Read = unsafe extern "C" fn(
    this: *mut Interface,
    transaction: *mut Transaction,
    prefix: PStr,
    node: PStr,
    buffer: *mut *mut c_char,
) -> NtStatus;
/// `StorePrintf`: formats at most 1023 characters and writes them.
pub type Printf = unsafe extern "C" fn(
    this: *mut Interface,
    transaction: *mut Transaction,
    prefix: PStr,
    node: PStr,
    format: PCStr,
    ...
) -> NtStatus;
/// `StorePermissionsSet`.
pub type PermissionsSet = unsafe extern "C" fn(
    this: *mut Interface,
    transaction: *mut Transaction,
    prefix: PStr,
    node: PStr,
    permissions: *const Permission,
    number_permissions: u32,
) -> NtStatus;
/// `StoreRemove`.
pub type Remove = unsafe extern "C" fn(
    this: *mut Interface,
    transaction: *mut Transaction,
    prefix: PStr,
    node: PStr,
) -> NtStatus;
/// `StoreDirectory`: names as consecutive strings, then one more NUL.
pub type Directory = Read;
/// `StoreTransactionStart`.
pub type TransactionStart =
    unsafe extern "C" fn(this: *mut Interface, transaction: *mut *mut Transaction) -> NtStatus;
/// `StoreTransactionEnd`: `STATUS_RETRY` on a conflict.
pub type TransactionEnd = unsafe extern "C" fn(
    this: *mut Interface,
    transaction: *mut Transaction,
    commit: Boolean,
) -> NtStatus;
/// `StoreWatchAdd`: the event is signalled each time the watch fires, and soon after registration.
pub type WatchAdd = unsafe extern "C" fn(
    this: *mut Interface,
    prefix: PStr,
    node: PStr,
    event: *mut KEvent,
    watch: *mut *mut Watch,
) -> NtStatus;
/// `StoreWatchRemove`.
pub type WatchRemove = unsafe extern "C" fn(this: *mut Interface, watch: *mut Watch) -> NtStatus;
/// `StorePoll`.
pub type Poll = unsafe extern "C" fn(this: *mut Interface);

/// `XENBUS_STORE_INTERFACE_V2`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StoreV2 {
    /// Header.
    pub interface: Interface,
    /// `StoreAcquire`.
    pub acquire: Acquire,
    /// `StoreRelease`.
    pub release: Release,
    /// `StoreFree`.
    pub free: Free,
    /// `StoreRead`.
    pub read: Read,
    /// `StorePrintf`.
    pub printf: Printf,
    /// `StorePermissionsSet`.
    pub permissions_set: PermissionsSet,
    /// `StoreRemove`.
    pub remove: Remove,
    /// `StoreDirectory`.
    pub directory: Directory,
    /// `StoreTransactionStart`.
    pub transaction_start: TransactionStart,
    /// `StoreTransactionEnd`.
    pub transaction_end: TransactionEnd,
    /// `StoreWatchAdd`.
    pub watch_add: WatchAdd,
    /// `StoreWatchRemove`.
    pub watch_remove: WatchRemove,
    /// `StorePoll`.
    pub poll: Poll,
}

table!(StoreV2, GUID, 2, 136);

const _: () = {
    assert!(offset_of!(StoreV2, release) == 0x28);
    assert!(offset_of!(StoreV2, free) == 0x30);
    assert!(offset_of!(StoreV2, read) == 0x38);
    assert!(offset_of!(StoreV2, printf) == 0x40);
    assert!(offset_of!(StoreV2, permissions_set) == 0x48);
    assert!(offset_of!(StoreV2, remove) == 0x50);
    assert!(offset_of!(StoreV2, directory) == 0x58);
    assert!(offset_of!(StoreV2, transaction_start) == 0x60);
    assert!(offset_of!(StoreV2, transaction_end) == 0x68);
    assert!(offset_of!(StoreV2, watch_add) == 0x70);
    assert!(offset_of!(StoreV2, watch_remove) == 0x78);
    assert!(offset_of!(StoreV2, poll) == 0x80);
};
