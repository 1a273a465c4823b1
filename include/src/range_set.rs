// SPDX-License-Identifier: BSD-2-Clause
//! The published RANGE_SET interface, version 1.
//!
//! A set of disjoint inclusive ranges of signed 64-bit numbers, sorted and coalesced, with a lock of
//! its own. All methods run at `<= DISPATCH_LEVEL`. A count of 0 is `STATUS_INVALID_PARAMETER`. All
//! sets must be destroyed, and be empty by then, before the last `release`.

use core::mem::offset_of;

use crate::interface::{Guid, Interface, NtStatus, PCStr, table};

/// `GUID_XENBUS_RANGE_SET_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0xEE7E78A2_6847_48C5_B123_BB012F0EABF4);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 1;

/// Longest name, its NUL included.
pub const NAME_MAX: usize = 128;

/// `XENBUS_RANGE_SET`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct RangeSet {
    _opaque: [u8; 0],
}

/// `RangeSetAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `RangeSetRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `RangeSetCreate`: `STATUS_NO_MEMORY`; `STATUS_BUFFER_OVERFLOW` for a name that is too long.
pub type Create = unsafe extern "C" fn(
    this: *mut Interface,
    name: PCStr,
    range_set: *mut *mut RangeSet,
) -> NtStatus;
/// `RangeSetPut`: adds `count` numbers from `start` on, none of which may be present.
pub type Put = unsafe extern "C" fn(
    this: *mut Interface,
    range_set: *mut RangeSet,
    start: i64,
    count: u64,
) -> NtStatus;
/// `RangeSetPop`: takes the lowest `count` numbers of the first range that has as many;
/// `STATUS_INSUFFICIENT_RESOURCES` when none has.
pub type Pop = unsafe extern "C" fn(
    this: *mut Interface,
    range_set: *mut RangeSet,
    count: u64,
    start: *mut i64,
) -> NtStatus;
/// `RangeSetGet`: takes exactly these numbers, which must lie in one range.
pub type Get = unsafe extern "C" fn(
    this: *mut Interface,
    range_set: *mut RangeSet,
    start: i64,
    count: u64,
) -> NtStatus;
/// `RangeSetDestroy`.
pub type Destroy = unsafe extern "C" fn(this: *mut Interface, range_set: *mut RangeSet);

/// `XENBUS_RANGE_SET_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RangeSetV1 {
    /// Header.
    pub interface: Interface,
    /// `RangeSetAcquire`.
    pub acquire: Acquire,
    /// `RangeSetRelease`.
    pub release: Release,
    /// `RangeSetCreate`.
    pub create: Create,
    /// `RangeSetPut`.
    pub put: Put,
    /// `RangeSetPop`.
    pub pop: Pop,
    /// `RangeSetGet`.
    pub get: Get,
    /// `RangeSetDestroy`.
    pub destroy: Destroy,
}

table!(RangeSetV1, GUID, 1, 88);

const _: () = {
    assert!(offset_of!(RangeSetV1, release) == 0x28);
    assert!(offset_of!(RangeSetV1, create) == 0x30);
    assert!(offset_of!(RangeSetV1, put) == 0x38);
    assert!(offset_of!(RangeSetV1, pop) == 0x40);
    assert!(offset_of!(RangeSetV1, get) == 0x48);
    assert!(offset_of!(RangeSetV1, destroy) == 0x50);
};
