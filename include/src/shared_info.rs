// SPDX-License-Identifier: BSD-2-Clause
//! The published SHARED_INFO interface, versions 2 to 4.
//!
//! Children use `acquire`, `release` and the time; the rest serves event delivery with the two-level
//! ABI. Processors are named by their Windows index.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, LargeInteger, NtStatus, table};

/// `GUID_XENBUS_SHARED_INFO_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x7E73C34F_1640_4649_A8F3_263BC930A004);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 2;
/// Newest version answered.
pub const VERSION_MAX: u16 = 4;

/// `XENBUS_SHARED_INFO_EVENT`: called for a pending and unmasked port.
pub type Event = unsafe extern "C" fn(argument: *mut c_void, port: u32) -> Boolean;

/// `SharedInfoAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `SharedInfoRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `SharedInfoUpcallSupported`: whether the processor has a vcpu_info. Any IRQL.
pub type UpcallSupported = unsafe extern "C" fn(this: *mut Interface, index: u32) -> Boolean;
/// `SharedInfoUpcallPending`: takes the processor's upcall-pending flag. Any IRQL.
pub type UpcallPending = unsafe extern "C" fn(this: *mut Interface, index: u32) -> Boolean;
/// `SharedInfoEvtchnPoll`: calls `event` for each pending and unmasked port of the processor; returns
/// the OR of the results. Does not acknowledge. Any IRQL; the caller serialises for each processor.
pub type EvtchnPoll = unsafe extern "C" fn(
    this: *mut Interface,
    index: u32,
    event: Option<Event>,
    argument: *mut c_void,
) -> Boolean;
/// `SharedInfoEvtchnAck`: clears the port's pending bit. Any IRQL.
pub type EvtchnAck = unsafe extern "C" fn(this: *mut Interface, port: u32);
/// `SharedInfoEvtchnMask`. Any IRQL.
pub type EvtchnMask = unsafe extern "C" fn(this: *mut Interface, port: u32);
/// `SharedInfoEvtchnUnmask`: returns whether the port is pending; redelivers nothing. Any IRQL.
pub type EvtchnUnmask = unsafe extern "C" fn(this: *mut Interface, port: u32) -> Boolean;
/// `SharedInfoGetTimeVersion2`: 100 ns since 1601.
pub type GetTimeVersion2 = unsafe extern "C" fn(this: *mut Interface) -> LargeInteger;
/// `SharedInfoGetTime`: 100 ns since 1601, and whether that is local time. `local` may be NULL.
pub type GetTime =
    unsafe extern "C" fn(this: *mut Interface, time: *mut LargeInteger, local: *mut Boolean);

/// `XENBUS_SHARED_INFO_INTERFACE_V2`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SharedInfoV2 {
    /// Header.
    pub interface: Interface,
    /// `SharedInfoAcquire`.
    pub acquire: Acquire,
    /// `SharedInfoRelease`.
    pub release: Release,
    /// `SharedInfoUpcallPending`.
    pub upcall_pending: UpcallPending,
    /// `SharedInfoEvtchnPoll`.
    pub evtchn_poll: EvtchnPoll,
    /// `SharedInfoEvtchnAck`.
    pub evtchn_ack: EvtchnAck,
    /// `SharedInfoEvtchnMask`.
    pub evtchn_mask: EvtchnMask,
    /// `SharedInfoEvtchnUnmask`.
    pub evtchn_unmask: EvtchnUnmask,
    /// `SharedInfoGetTimeVersion2`.
    pub get_time: GetTimeVersion2,
}

/// `XENBUS_SHARED_INFO_INTERFACE_V3`: the time comes with its zone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SharedInfoV3 {
    /// Header.
    pub interface: Interface,
    /// `SharedInfoAcquire`.
    pub acquire: Acquire,
    /// `SharedInfoRelease`.
    pub release: Release,
    /// `SharedInfoUpcallPending`.
    pub upcall_pending: UpcallPending,
    /// `SharedInfoEvtchnPoll`.
    pub evtchn_poll: EvtchnPoll,
    /// `SharedInfoEvtchnAck`.
    pub evtchn_ack: EvtchnAck,
    /// `SharedInfoEvtchnMask`.
    pub evtchn_mask: EvtchnMask,
    /// `SharedInfoEvtchnUnmask`.
    pub evtchn_unmask: EvtchnUnmask,
    /// `SharedInfoGetTime`.
    pub get_time: GetTime,
}

/// `XENBUS_SHARED_INFO_INTERFACE_V4`: a method more, in the middle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SharedInfoV4 {
    /// Header.
    pub interface: Interface,
    /// `SharedInfoAcquire`.
    pub acquire: Acquire,
    /// `SharedInfoRelease`.
    pub release: Release,
    /// `SharedInfoUpcallSupported`.
    pub upcall_supported: UpcallSupported,
    /// `SharedInfoUpcallPending`.
    pub upcall_pending: UpcallPending,
    /// `SharedInfoEvtchnPoll`.
    pub evtchn_poll: EvtchnPoll,
    /// `SharedInfoEvtchnAck`.
    pub evtchn_ack: EvtchnAck,
    /// `SharedInfoEvtchnMask`.
    pub evtchn_mask: EvtchnMask,
    /// `SharedInfoEvtchnUnmask`.
    pub evtchn_unmask: EvtchnUnmask,
    /// `SharedInfoGetTime`.
    pub get_time: GetTime,
}

table!(SharedInfoV2, GUID, 2, 96);
table!(SharedInfoV3, GUID, 3, 96);
table!(SharedInfoV4, GUID, 4, 104);

const _: () = {
    assert!(offset_of!(SharedInfoV2, release) == 0x28);
    assert!(offset_of!(SharedInfoV2, upcall_pending) == 0x30);
    assert!(offset_of!(SharedInfoV2, evtchn_poll) == 0x38);
    assert!(offset_of!(SharedInfoV2, evtchn_ack) == 0x40);
    assert!(offset_of!(SharedInfoV2, evtchn_mask) == 0x48);
    assert!(offset_of!(SharedInfoV2, evtchn_unmask) == 0x50);
    assert!(offset_of!(SharedInfoV2, get_time) == 0x58);
    assert!(offset_of!(SharedInfoV3, release) == 0x28);
    assert!(offset_of!(SharedInfoV3, upcall_pending) == 0x30);
    assert!(offset_of!(SharedInfoV3, evtchn_poll) == 0x38);
    assert!(offset_of!(SharedInfoV3, evtchn_ack) == 0x40);
    assert!(offset_of!(SharedInfoV3, evtchn_mask) == 0x48);
    assert!(offset_of!(SharedInfoV3, evtchn_unmask) == 0x50);
    assert!(offset_of!(SharedInfoV3, get_time) == 0x58);
    assert!(offset_of!(SharedInfoV4, release) == 0x28);
    assert!(offset_of!(SharedInfoV4, upcall_supported) == 0x30);
    assert!(offset_of!(SharedInfoV4, upcall_pending) == 0x38);
    assert!(offset_of!(SharedInfoV4, evtchn_poll) == 0x40);
    assert!(offset_of!(SharedInfoV4, evtchn_ack) == 0x48);
    assert!(offset_of!(SharedInfoV4, evtchn_mask) == 0x50);
    assert!(offset_of!(SharedInfoV4, evtchn_unmask) == 0x58);
    assert!(offset_of!(SharedInfoV4, get_time) == 0x60);
};
