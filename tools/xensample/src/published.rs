// SPDX-License-Identifier: BSD-2-Clause
//! The published STORE table, called as a C child calls it: blocking, with variable arguments, with an event for a watch.
#![expect(unsafe_code, reason = "calls through a C table")]

use core::ffi::{CStr, c_char};
use core::ptr;

use kexec::nt::sys::KEVENT;
use kexec::nt::wdm::{DevicePtr, QueryInterface};
use kexec::nt::{Box, Tag, sys};
use kexec::{Passive, Result, Status};
use xenbus_interface::store::{self, StoreV2};
use xenbus_interface::{Interface, Table};

/// STATUS_TIMEOUT, a success code.
const TIMED_OUT: i32 = 0x102;

/// Asks `below` for STORE version 2, writes a key, reads it back, lists its parent, watches it, and removes it.
///
/// # Errors
/// The first that is not as published.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub(crate) fn exercise(tag: Tag, below: DevicePtr, passive: Passive) -> Result {
    let guid = store::GUID.to_bytes();
    // SAFETY: the table of this GUID and version: a header and function pointers, which the provider fills.
    let mut table =
        unsafe { QueryInterface::ask::<StoreV2>(below, &guid, StoreV2::VERSION, passive)? };
    let this: *mut Interface = &raw mut table.interface;
    // SAFETY: the provider's method with its own table, as for every call below.
    Status::check(unsafe { (table.acquire)(this) })?;
    let result = with_reference(tag, &table, this);
    // SAFETY: the reference taken above.
    unsafe { (table.release)(this) };
    // A version that nobody serves is refused.
    // SAFETY: as above; the answer is not used.
    match unsafe { QueryInterface::ask::<StoreV2>(below, &guid, 1, passive) } {
        Err(Status::NOT_SUPPORTED) => result,
        _ => Err(Status::REVISION_MISMATCH),
    }
}

fn with_reference(tag: Tag, table: &StoreV2, this: *mut Interface) -> Result {
    const PARENT: &CStr = c"data/sample/published";
    const KEY: &CStr = c"key";
    let none = ptr::null_mut();
    // SAFETY: the format names one narrow string and one 32-bit number, which follow.
    let wrote = unsafe {
        (table.printf)(
            this,
            none,
            PARENT.as_ptr(),
            KEY.as_ptr(),
            c"%s-%u".as_ptr(),
            c"value".as_ptr(),
            42_u32,
        )
    };
    Status::check(wrote)?;

    let mut buffer: *mut c_char = ptr::null_mut();
    // SAFETY: the buffer is a local; prefix and node are terminated.
    Status::check(unsafe { (table.read)(this, none, PARENT.as_ptr(), KEY.as_ptr(), &mut buffer) })?;
    // SAFETY: on success the buffer holds a terminated value.
    let same = unsafe { CStr::from_ptr(buffer) } == c"value-42";
    // SAFETY: given back once.
    unsafe { (table.free)(this, buffer) };

    // SAFETY: as for the read.
    Status::check(unsafe {
        (table.directory)(this, none, ptr::null(), PARENT.as_ptr(), &mut buffer)
    })?;
    // SAFETY: on success the buffer holds terminated names.
    let listed = unsafe { CStr::from_ptr(buffer) } == KEY;
    // SAFETY: given back once.
    unsafe { (table.free)(this, buffer) };

    // SAFETY: as for the read; nothing is in the buffer after a failure.
    let missing = unsafe {
        (table.read)(
            this,
            none,
            PARENT.as_ptr(),
            c"missing".as_ptr(),
            &mut buffer,
        )
    };
    let missing = missing == Status::OBJECT_NAME_NOT_FOUND.raw();

    let fired = watch(tag, table, this, PARENT)?;
    // SAFETY: terminated strings.
    Status::check(unsafe { (table.remove)(this, none, ptr::null(), PARENT.as_ptr()) })?;
    if same && listed && missing && fired {
        Ok(())
    } else {
        Err(Status::DATA_ERROR)
    }
}

/// Whether a watch sets its event soon after its registration.
fn watch(tag: Tag, table: &StoreV2, this: *mut Interface, node: &CStr) -> Result<bool> {
    // SAFETY: a KEVENT is plain memory until it is initialised.
    let event = Box::<KEVENT>::try_new(tag, unsafe { core::mem::zeroed() })?.into_raw();
    // SAFETY: in pool, so it stays in place; nobody uses it yet.
    unsafe { sys::KeInitializeEvent(event.as_ptr(), sys::NotificationEvent, 0) };
    let mut handle = ptr::null_mut();
    // SAFETY: the event outlives the watch; the handle is a local.
    let added = unsafe {
        (table.watch_add)(
            this,
            ptr::null(),
            node.as_ptr(),
            event.as_ptr().cast(),
            &mut handle,
        )
    };
    let result = Status::check(added).and_then(|()| {
        let mut second = -10_000_000_i64;
        // SAFETY: an initialised event; PASSIVE_LEVEL, because a device is being started.
        let waited =
            unsafe { sys::KeWaitForSingleObject(event.as_ptr().cast(), 0, 0, 0, &mut second) };
        // SAFETY: the handle of the watch, removed once.
        Status::check(unsafe { (table.watch_remove)(this, handle) })?;
        Ok(waited != TIMED_OUT)
    });
    // SAFETY: made above; the watch is removed, or was never added.
    drop(unsafe { Box::from_raw(event, tag) });
    result
}
