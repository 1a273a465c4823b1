// SPDX-License-Identifier: BSD-2-Clause
//! The published UNPLUG interface, versions 1 to 3.
//!
//! A request for the emulated devices of one kind to be unplugged at the next boot is a count in the
//! registry, consumed by that boot. Methods but `acquire` and `release` run at PASSIVE_LEVEL.

use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, NtStatus, PStr, table};

/// `GUID_XENBUS_UNPLUG_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x73DB6517_3D06_4937_989F_199B7501E229);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 3;

/// `XENBUS_UNPLUG_DEVICE_TYPE`.
pub type DeviceType = u32;
/// `XENBUS_UNPLUG_DEVICE_TYPE_INVALID`.
pub const DEVICE_TYPE_INVALID: DeviceType = 0;
/// `XENBUS_UNPLUG_DEVICE_TYPE_NICS`.
pub const DEVICE_TYPE_NICS: DeviceType = 1;
/// `XENBUS_UNPLUG_DEVICE_TYPE_DISKS`.
pub const DEVICE_TYPE_DISKS: DeviceType = 2;

/// `UnplugAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `UnplugRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `UnplugRequest`: adds a request for the next boot, or takes one back.
pub type Request = unsafe extern "C" fn(this: *mut Interface, r#type: DeviceType, make: Boolean);
/// `UnplugIsRequested`: whether devices of the type were unplugged at this boot.
pub type IsRequested = unsafe extern "C" fn(this: *mut Interface, r#type: DeviceType) -> Boolean;
/// `UnplugBootEmulated`: whether this boot was told to use the emulated disk.
pub type BootEmulated = unsafe extern "C" fn(this: *mut Interface) -> Boolean;
/// `UnplugReboot`: asks the monitor service for a reboot, in the name of `module`.
pub type Reboot = unsafe extern "C" fn(this: *mut Interface, module: PStr);

/// `XENBUS_UNPLUG_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnplugV1 {
    /// Header.
    pub interface: Interface,
    /// `UnplugAcquire`.
    pub acquire: Acquire,
    /// `UnplugRelease`.
    pub release: Release,
    /// `UnplugRequest`.
    pub request: Request,
}

/// `XENBUS_UNPLUG_INTERFACE_V2`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnplugV2 {
    /// Header.
    pub interface: Interface,
    /// `UnplugAcquire`.
    pub acquire: Acquire,
    /// `UnplugRelease`.
    pub release: Release,
    /// `UnplugRequest`.
    pub request: Request,
    /// `UnplugIsRequested`.
    pub is_requested: IsRequested,
}

/// `XENBUS_UNPLUG_INTERFACE_V3`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnplugV3 {
    /// Header.
    pub interface: Interface,
    /// `UnplugAcquire`.
    pub acquire: Acquire,
    /// `UnplugRelease`.
    pub release: Release,
    /// `UnplugRequest`.
    pub request: Request,
    /// `UnplugIsRequested`.
    pub is_requested: IsRequested,
    /// `UnplugBootEmulated`.
    pub boot_emulated: BootEmulated,
    /// `UnplugReboot`.
    pub reboot: Reboot,
}

table!(UnplugV1, GUID, 1, 56);
table!(UnplugV2, GUID, 2, 64);
table!(UnplugV3, GUID, 3, 80);

const _: () = {
    assert!(offset_of!(UnplugV1, release) == 0x28);
    assert!(offset_of!(UnplugV1, request) == 0x30);
    assert!(offset_of!(UnplugV2, release) == 0x28);
    assert!(offset_of!(UnplugV2, request) == 0x30);
    assert!(offset_of!(UnplugV2, is_requested) == 0x38);
    assert!(offset_of!(UnplugV3, release) == 0x28);
    assert!(offset_of!(UnplugV3, request) == 0x30);
    assert!(offset_of!(UnplugV3, is_requested) == 0x38);
    assert!(offset_of!(UnplugV3, boot_emulated) == 0x40);
    assert!(offset_of!(UnplugV3, reboot) == 0x48);
};
