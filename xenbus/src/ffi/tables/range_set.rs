// SPDX-License-Identifier: BSD-2-Clause
//! RANGE_SET, version 1.

use core::ffi::{c_char, c_void};

use kexec::{Result, Status, warn};
use xenbus_interface::range_set::{self as raw, RangeSetV1};
use xenbus_interface::{Interface, NtStatus};

use super::{acquire, bus, fdo, handle, peek, release, take, text};
use crate::range_set::{RangeSet, check_name};
use crate::status::no_memory;

pub(super) fn v1(context: *mut c_void) -> RangeSetV1 {
    RangeSetV1 {
        interface: Interface::of::<RangeSetV1>(context),
        acquire: table_acquire,
        release: table_release,
        create,
        put,
        pop,
        get,
        destroy,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().range_set, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().range_set);
}

unsafe extern "C" fn create(
    _this: *mut Interface,
    name: *const c_char,
    set: *mut *mut raw::RangeSet,
) -> NtStatus {
    let made = (|| -> Result<*mut raw::RangeSet> {
        // SAFETY: the table's contract.
        check_name(unsafe { text(name) }.ok_or(Status::INVALID_PARAMETER)?)?;
        if set.is_null() {
            return Err(Status::INVALID_PARAMETER);
        }
        handle(RangeSet::new()).map_err(no_memory)
    })();
    match made {
        Ok(made) => {
            // SAFETY: not NULL, so valid by the table's contract.
            unsafe { set.write(made) };
            0
        }
        Err(status) => status.raw(),
    }
}

/// Runs `f` on the set of a handle.
///
/// # Safety
/// A handle of `create` that is not destroyed meanwhile, or NULL.
unsafe fn with(set: *mut raw::RangeSet, f: impl FnOnce(&RangeSet) -> Result) -> NtStatus {
    // SAFETY: by the contract.
    match unsafe { peek::<RangeSet, _>(set) } {
        Some(set) => Status::of(&f(set)),
        None => Status::INVALID_PARAMETER.raw(),
    }
}

unsafe extern "C" fn put(
    _this: *mut Interface,
    set: *mut raw::RangeSet,
    start: i64,
    count: u64,
) -> NtStatus {
    // SAFETY: the table's contract.
    unsafe { with(set, |set| set.put(start, count)) }
}

unsafe extern "C" fn pop(
    _this: *mut Interface,
    set: *mut raw::RangeSet,
    count: u64,
    start: *mut i64,
) -> NtStatus {
    if start.is_null() {
        return Status::INVALID_PARAMETER.raw();
    }
    let mut first = 0;
    // SAFETY: the table's contract.
    let status = unsafe { with(set, |set| set.pop(count).map(|start| first = start)) };
    if status == 0 {
        // SAFETY: not NULL, so valid by the table's contract.
        unsafe { start.write(first) };
    }
    status
}

unsafe extern "C" fn get(
    _this: *mut Interface,
    set: *mut raw::RangeSet,
    start: i64,
    count: u64,
) -> NtStatus {
    // SAFETY: the table's contract.
    unsafe { with(set, |set| set.get(start, count)) }
}

unsafe extern "C" fn destroy(_this: *mut Interface, set: *mut raw::RangeSet) {
    // SAFETY: the table's contract: destroyed once.
    let set = unsafe { take::<RangeSet, _>(set) };
    let left = set.map_or(0, |set| set.ranges());
    if left != 0 {
        warn!("range_set: destroyed with {left} ranges in it");
    }
}
