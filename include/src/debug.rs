// SPDX-License-Identifier: BSD-2-Clause
//! The published DEBUG interface, version 1.
//!
//! Callbacks run at HIGH_LEVEL, one at a time under a lock or, at a bug check, without one; they may
//! only print. All callbacks must be deregistered before the last `release`.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, NtStatus, PCStr, PStr, table};

/// `GUID_XENBUS_DEBUG_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x0DF600AE_6B20_4227_BF94_03DA9A26A114);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 1;

/// `XENBUS_DEBUG_CALLBACK`: a registered callback, opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Callback {
    _opaque: [u8; 0],
}

/// `XENBUS_DEBUG_FUNCTION`: prints the caller's state. `crashing`: shared pages must not be touched.
pub type Function = unsafe extern "C" fn(argument: *mut c_void, crashing: Boolean);

/// `DebugAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `DebugRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `DebugRegister`: adds a callback; the prefix is copied, at most 31 characters. `STATUS_NO_MEMORY`.
pub type Register = unsafe extern "C" fn(
    this: *mut Interface,
    prefix: PStr,
    function: Option<Function>,
    argument: *mut c_void,
    callback: *mut *mut Callback,
) -> NtStatus;
/// `DebugPrintf`: prints with the callback's prefix; in a debug callback only.
pub type Printf = unsafe extern "C" fn(this: *mut Interface, format: PCStr, ...);
/// `DebugTrigger`: runs a callback, or all for NULL. Any IRQL, not in a debug callback.
pub type Trigger = unsafe extern "C" fn(this: *mut Interface, callback: *mut Callback);
/// `DebugDeregister`: removes and frees a callback.
pub type Deregister = unsafe extern "C" fn(this: *mut Interface, callback: *mut Callback);

/// `XENBUS_DEBUG_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DebugV1 {
    /// Header.
    pub interface: Interface,
    /// `DebugAcquire`.
    pub acquire: Acquire,
    /// `DebugRelease`.
    pub release: Release,
    /// `DebugRegister`.
    pub register: Register,
    /// `DebugPrintf`.
    pub printf: Printf,
    /// `DebugTrigger`.
    pub trigger: Trigger,
    /// `DebugDeregister`.
    pub deregister: Deregister,
}

table!(DebugV1, GUID, 1, 80);

const _: () = {
    assert!(offset_of!(DebugV1, release) == 0x28);
    assert!(offset_of!(DebugV1, register) == 0x30);
    assert!(offset_of!(DebugV1, printf) == 0x38);
    assert!(offset_of!(DebugV1, trigger) == 0x40);
    assert!(offset_of!(DebugV1, deregister) == 0x48);
};
