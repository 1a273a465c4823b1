// SPDX-License-Identifier: BSD-2-Clause
//! Remove locks: a count of users of a device, and a wait for them to leave.
//!
//! The lock lies in the driver's memory: a removed byte at 0, the count at 4 and an event at 8. The count
//! starts at one; releasing more than was acquired ends the run.

use core::sync::atomic::Ordering;

use crate::ke::event;
use crate::ke::wait::{self, Timeout};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::verifier;

const COUNT: usize = 4;
const EVENT: usize = 8;
const SMALLEST: u32 = 0x20;

fn drop_count(lock: Ptr) -> u32 {
    let before = lock.atomic32(COUNT).fetch_sub(1, Ordering::SeqCst);
    if before == 0 || before > i32::MAX as u32 {
        verifier::fail(
            "remove_lock_underflow",
            format_args!("remove lock {lock} is not held"),
        );
    }
    before - 1
}

pub(super) extern "win64" fn io_initialize(
    lock: Ptr,
    _tag: u32,
    _minutes: u32,
    _most: u32,
    size: u32,
) {
    if size < SMALLEST {
        verifier::fail(
            "remove_lock_size",
            format_args!("a remove lock of {size:#x} bytes"),
        );
    }
    lock.fill(0, size as usize);
    lock.set(COUNT, 1u32);
    event::init(lock.add(EVENT), true, false);
}

pub(super) extern "win64" fn io_acquire(
    lock: Ptr,
    _tag: Ptr,
    _file: Ptr,
    _line: u32,
    _size: u32,
) -> NtStatus {
    let before = lock.atomic32(COUNT).fetch_add(1, Ordering::SeqCst);
    if before > i32::MAX as u32 {
        verifier::fail(
            "remove_lock_underflow",
            format_args!("remove lock {lock} is broken"),
        );
    }
    if lock.get::<u8>(0) == 0 {
        return status::SUCCESS;
    }
    if drop_count(lock) == 0 {
        event::set(lock.add(EVENT));
    }
    status::DELETE_PENDING
}

pub(super) extern "win64" fn io_release(lock: Ptr, _tag: Ptr, _size: u32) {
    if drop_count(lock) == 0 {
        if lock.get::<u8>(0) == 0 {
            verifier::fail(
                "remove_lock_underflow",
                format_args!("remove lock {lock} is not held"),
            );
        }
        event::set(lock.add(EVENT));
    }
}

pub(super) extern "win64" fn io_release_and_wait(lock: Ptr, _tag: Ptr, _size: u32) {
    lock.set(0, 1u8);
    // The caller's own count, then the one that the lock began with.
    if drop_count(lock) == 0 {
        verifier::fail(
            "remove_lock_underflow",
            format_args!("remove lock {lock} was not acquired"),
        );
    }
    if drop_count(lock) > 0 {
        wait::single(lock.add(EVENT), Timeout::Never);
    }
}
