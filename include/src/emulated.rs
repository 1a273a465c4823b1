// SPDX-License-Identifier: BSD-2-Clause
//! The published EMULATED interface, versions 1 to 3, which xenfilt.sys answers.
//!
//! The table's first argument is declared `PVOID`; it is the requester's copy of the table as in every
//! interface. All methods run at `<= DISPATCH_LEVEL`.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, NtStatus, PStr, table};

/// `GUID_XENFILT_EMULATED_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x959027A1_FCCE_4E78_BCF4_637384F499C5);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 3;

/// `XENBUS_EMULATED_ACTIVATION_STATUS`: published with this prefix.
pub type ActivationStatus = u32;
/// `XENBUS_EMULATED_ACTIVATE_NEUTRAL`.
pub const ACTIVATE_NEUTRAL: ActivationStatus = 0;
/// `XENBUS_EMULATED_FORCE_ACTIVATED`.
pub const FORCE_ACTIVATED: ActivationStatus = 1;
/// `XENBUS_EMULATED_FORCE_DEACTIVATED`.
pub const FORCE_DEACTIVATED: ActivationStatus = 2;

/// `EmulatedAcquire`.
pub type Acquire = unsafe extern "C" fn(context: *mut c_void) -> NtStatus;
/// `EmulatedRelease`.
pub type Release = unsafe extern "C" fn(context: *mut c_void);
/// `EmulatedIsDevicePresentVersion1`: as [`IsDevicePresent`], without the status.
pub type IsDevicePresentVersion1 =
    unsafe extern "C" fn(context: *mut c_void, device_id: PStr, instance_id: PStr) -> Boolean;
/// `EmulatedIsDevicePresent`: ignores case. No instance: any; no device: the one
/// that is activated by force. `is_force_activated` may be NULL.
pub type IsDevicePresent = unsafe extern "C" fn(
    context: *mut c_void,
    device_id: PStr,
    instance_id: PStr,
    is_force_activated: *mut ActivationStatus,
) -> Boolean;
/// `EmulatedIsDiskPresentVersion1`: `target` is the disk's index, the rest is ignored.
pub type IsDiskPresentVersion1 =
    unsafe extern "C" fn(context: *mut c_void, controller: u32, target: u32, lun: u32) -> Boolean;
/// `EmulatedIsDiskPresent`.
pub type IsDiskPresent = unsafe extern "C" fn(context: *mut c_void, index: u32) -> Boolean;

/// `XENFILT_EMULATED_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EmulatedV1 {
    /// Header.
    pub interface: Interface,
    /// `EmulatedAcquire`.
    pub acquire: Acquire,
    /// `EmulatedRelease`.
    pub release: Release,
    /// `EmulatedIsDevicePresentVersion1`.
    pub is_device_present: IsDevicePresentVersion1,
    /// `EmulatedIsDiskPresentVersion1`.
    pub is_disk_present: IsDiskPresentVersion1,
}

/// `XENFILT_EMULATED_INTERFACE_V2`: disks by index.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EmulatedV2 {
    /// Header.
    pub interface: Interface,
    /// `EmulatedAcquire`.
    pub acquire: Acquire,
    /// `EmulatedRelease`.
    pub release: Release,
    /// `EmulatedIsDevicePresentVersion1`.
    pub is_device_present: IsDevicePresentVersion1,
    /// `EmulatedIsDiskPresent`.
    pub is_disk_present: IsDiskPresent,
}

/// `XENFILT_EMULATED_INTERFACE_V3`: tells what is activated by force.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EmulatedV3 {
    /// Header.
    pub interface: Interface,
    /// `EmulatedAcquire`.
    pub acquire: Acquire,
    /// `EmulatedRelease`.
    pub release: Release,
    /// `EmulatedIsDevicePresent`.
    pub is_device_present: IsDevicePresent,
    /// `EmulatedIsDiskPresent`.
    pub is_disk_present: IsDiskPresent,
}

table!(EmulatedV1, GUID, 1, 64);
table!(EmulatedV2, GUID, 2, 64);
table!(EmulatedV3, GUID, 3, 64);

const _: () = {
    assert!(offset_of!(EmulatedV1, release) == 0x28);
    assert!(offset_of!(EmulatedV1, is_device_present) == 0x30);
    assert!(offset_of!(EmulatedV1, is_disk_present) == 0x38);
    assert!(offset_of!(EmulatedV2, release) == 0x28);
    assert!(offset_of!(EmulatedV2, is_device_present) == 0x30);
    assert!(offset_of!(EmulatedV2, is_disk_present) == 0x38);
    assert!(offset_of!(EmulatedV3, release) == 0x28);
    assert!(offset_of!(EmulatedV3, is_device_present) == 0x30);
    assert!(offset_of!(EmulatedV3, is_disk_present) == 0x38);
};
