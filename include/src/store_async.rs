// SPDX-License-Identifier: BSD-2-Clause
//! `XENBUS_ASYNC_STORE`, version 1: the store without waiting.
//!
//! A table beside the published STORE interface, with a GUID of its own and outside the published
//! revisions, so that nothing deployed is disturbed. The bus driver's store task completes requests
//! by callback. It is the table under the async wrappers of this crate and just as usable from C.
//!
//! # The contract
//!
//! * Methods run at `<= DISPATCH_LEVEL` and never wait for xenstored. The first argument is the
//!   requester's copy of the table, as in every interface. Buffers passed in must be resident.
//! * A reference (`acquire`) must be held for all other methods. Before the last `release` every
//!   request handle and every watch handle must have been given back.
//! * **A request handle is given back exactly once, by `close`**, whether the request has completed
//!   or not. Closing a request that has not completed cancels it: its completion will not be called.
//!   Closing one whose completion is running on another processor waits until it has returned. So
//!   after `close` the context and the code of the completion may go away.
//! * `close` and `watch_remove` must not be called from a callback of this table, nor with a lock
//!   held that such a callback takes.
//! * Callbacks run at `DISPATCH_LEVEL`, on any processor, possibly before `submit` or `watch_add` has
//!   returned, outside the store's own task and with none of its locks held. They may submit further
//!   requests. They must not wait.
//! * A requester may have any number of requests outstanding: those with a completion are never
//!   refused for want of room, they wait for their turn, and requesters take turns. Requests without
//!   one are refused with `STATUS_INSUFFICIENT_RESOURCES` when more than 1024 of them wait.
//! * A request copies its input before `submit` returns. The data that a completion gets belong to the
//!   bus and end with the callback.
//! * A cancelled request may or may not have been carried out. What it would have left behind in the
//!   store's bookkeeping (a transaction just started) is undone by the bus.
//!
//! ```text
//! submit --> waiting --> completion running --> done --> close --> (gone)
//!               |              |
//!               |              +-- close waits for it --> (gone)
//!               +-- close: cancelled, no completion --> (gone)
//! ```

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use crate::interface::{Guid, Interface, NtStatus, table};

/// `GUID_XENBUS_ASYNC_STORE_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x731C7FFF_B8AF_4FA6_B6C8_94B4FF935BD8);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 1;

/// `XENBUS_ASYNC_STORE_OPERATION`.
pub type Operation = u32;
/// `XENBUS_ASYNC_STORE_OP_READ`: reads a node. Reply: the value, without a terminator.
pub const OP_READ: Operation = 1;
/// `XENBUS_ASYNC_STORE_OP_WRITE`: writes `value` to a node. No reply data.
pub const OP_WRITE: Operation = 2;
/// `XENBUS_ASYNC_STORE_OP_REMOVE`: removes a node and all below it. No reply data.
pub const OP_REMOVE: Operation = 3;
/// `XENBUS_ASYNC_STORE_OP_DIRECTORY`: lists a node. Reply: the children's names, each with a NUL; none is
/// an empty reply, not an error. A list may be far longer than one payload of the store.
pub const OP_DIRECTORY: Operation = 4;
/// `XENBUS_ASYNC_STORE_OP_TRANSACTION_START`: starts a transaction; no path. Reply: its identity, 8 bytes, little endian, never zero.
///
/// The identity names the connection too: one from before a reconnection is recognised and refused.
pub const OP_TRANSACTION_START: Operation = 5;
/// `XENBUS_ASYNC_STORE_OP_TRANSACTION_COMMIT`: commits `transaction`; no path. `STATUS_RETRY`: a conflict, or a connection of the past. The
/// identity is void afterwards whatever the status.
pub const OP_TRANSACTION_COMMIT: Operation = 6;
/// `XENBUS_ASYNC_STORE_OP_TRANSACTION_ABORT`: aborts `transaction`; no path. The identity is void afterwards whatever the status.
pub const OP_TRANSACTION_ABORT: Operation = 7;
/// `XENBUS_ASYNC_STORE_OP_PERMISSIONS_SET`: sets the permissions of a node: `value` is an array of [`crate::store::Permission`].
pub const OP_PERMISSIONS_SET: Operation = 8;
/// `XENBUS_ASYNC_STORE_OP_PERMISSIONS_GET`: reads the permissions of a node. Reply: an entry for each
/// domain named, the owner first: a letter (`n` none, `r` read, `w` write, `b` both), the domain in
/// decimal, a NUL.
///
/// Buses of before this operation answer `STATUS_NOT_SUPPORTED`, as to any unknown number.
pub const OP_PERMISSIONS_GET: Operation = 9;

/// `XENBUS_ASYNC_STORE_REQUEST`: one request. The bus copies it, the path and the value before `submit` returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Size of this structure; a larger one of a later version is accepted.
    pub size: u32,
    /// One of the `OP_` numbers; others get `STATUS_NOT_SUPPORTED`.
    pub operation: Operation,
    /// Identity of a transaction, or 0 for none.
    pub transaction: u64,
    /// The path, absolute or relative to the domain's own, without a terminator.
    pub path: *const u8,
    /// The value for those operations that take one.
    pub value: *const u8,
    /// Bytes of the path.
    pub path_length: u32,
    /// Bytes of the value.
    pub value_length: u32,
}

const _: () = {
    assert!(size_of::<Request>() == 40);
    assert!(offset_of!(Request, transaction) == 8);
    assert!(offset_of!(Request, path) == 16);
    assert!(offset_of!(Request, value) == 24);
    assert!(offset_of!(Request, path_length) == 32);
    assert!(offset_of!(Request, value_length) == 36);
};

/// `XENBUS_ASYNC_STORE_REQUEST_HANDLE`: a submitted request, opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct RequestHandle {
    _opaque: [u8; 0],
}

/// `XENBUS_ASYNC_STORE_WATCH_HANDLE`: a registered watch, opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct WatchHandle {
    _opaque: [u8; 0],
}

/// `XENBUS_ASYNC_STORE_COMPLETION`: called once when a request has completed, unless it was closed before.
///
/// `data` has `length` bytes on success, where the operation has a reply; else `length` is 0. Statuses
/// are those of the STORE interface, and `STATUS_CONNECTION_DISCONNECTED` when the store went away.
pub type Completion =
    unsafe extern "C" fn(context: *mut c_void, status: NtStatus, data: *const u8, length: u32);

/// `XENBUS_ASYNC_STORE_WATCH_CALLBACK`: called when a watch has fired, once soon after registration, and once after a reconnection.
///
/// Changes coalesce: at least one call follows every change. A failure status says that the watch
/// could not be registered, or not again, and is dead: no further call comes, `watch_remove` is still
/// due. Calls for one watch do not overlap.
pub type WatchCallback = unsafe extern "C" fn(context: *mut c_void, status: NtStatus);

/// `AsyncStoreAcquire`: takes a reference.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `AsyncStoreRelease`: gives a reference back.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `AsyncStoreSubmit`: submits a request.
///
/// Success: the completion will be called unless the handle is closed before. A failure status: it
/// will not be, and there is no handle. `completion` NULL: fire and forget, the bus stores NULL in
/// `*handle` and there is nothing to close; `handle` may then be NULL too.
pub type Submit = unsafe extern "C" fn(
    this: *mut Interface,
    request: *const Request,
    completion: Option<Completion>,
    context: *mut c_void,
    handle: *mut *mut RequestHandle,
) -> NtStatus;
/// `AsyncStoreClose`: gives a request handle back; cancels the request if it has not completed.
pub type Close = unsafe extern "C" fn(this: *mut Interface, handle: *mut RequestHandle);
/// `AsyncStoreWatchAdd`: registers a watch on a node and all below it.
///
/// Success means that the local part is done; the daemon's refusal comes by callback. The bus keeps
/// the watch registered over reconnections by itself.
pub type WatchAdd = unsafe extern "C" fn(
    this: *mut Interface,
    path: *const u8,
    path_length: u32,
    callback: Option<WatchCallback>,
    context: *mut c_void,
    handle: *mut *mut WatchHandle,
) -> NtStatus;
/// `AsyncStoreWatchRemove`: removes a watch; no callback runs or comes once it has returned.
pub type WatchRemove = unsafe extern "C" fn(this: *mut Interface, handle: *mut WatchHandle);

/// `XENBUS_ASYNC_STORE_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AsyncStoreV1 {
    /// Header.
    pub interface: Interface,
    /// `AsyncStoreAcquire`.
    pub acquire: Acquire,
    /// `AsyncStoreRelease`.
    pub release: Release,
    /// `AsyncStoreSubmit`.
    pub submit: Submit,
    /// `AsyncStoreClose`.
    pub close: Close,
    /// `AsyncStoreWatchAdd`.
    pub watch_add: WatchAdd,
    /// `AsyncStoreWatchRemove`.
    pub watch_remove: WatchRemove,
}

table!(AsyncStoreV1, GUID, 1, 80);

const _: () = {
    assert!(offset_of!(AsyncStoreV1, release) == 0x28);
    assert!(offset_of!(AsyncStoreV1, submit) == 0x30);
    assert!(offset_of!(AsyncStoreV1, close) == 0x38);
    assert!(offset_of!(AsyncStoreV1, watch_add) == 0x40);
    assert!(offset_of!(AsyncStoreV1, watch_remove) == 0x48);
};
