// SPDX-License-Identifier: BSD-2-Clause
//! The published SUSPEND interface, version 1.
//!
//! Callbacks run on processor 0 only, in the order of registration, the bus's own before any child's:
//! [`CALLBACK_EARLY`] at HIGH_LEVEL with interrupts disabled everywhere, [`CALLBACK_LATE`] at
//! DISPATCH_LEVEL with the other processors still captured. Neither may wait, touch pageable memory or
//! register and deregister callbacks. No callback of either kind runs when the suspend was cancelled.
//! All callbacks must be deregistered before the last `release`.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::interface::{Guid, Interface, NtStatus, table};

/// `GUID_XENBUS_SUSPEND_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x0554F2AF_B510_4C71_AC03_1C503E394238);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 1;

/// `XENBUS_SUSPEND_CALLBACK_TYPE`.
pub type CallbackType = u32;
/// `SUSPEND_CALLBACK_TYPE_INVALID`.
pub const CALLBACK_TYPE_INVALID: CallbackType = 0;
/// `SUSPEND_CALLBACK_EARLY`.
pub const CALLBACK_EARLY: CallbackType = 1;
/// `SUSPEND_CALLBACK_LATE`.
pub const CALLBACK_LATE: CallbackType = 2;

/// `XENBUS_SUSPEND_CALLBACK`: a registered callback, opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Callback {
    _opaque: [u8; 0],
}

/// `XENBUS_SUSPEND_FUNCTION`: called after a resume.
pub type Function = unsafe extern "C" fn(argument: *mut c_void);

/// `Acquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `Release`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `Register`: adds a callback behind those of its type; `STATUS_NO_MEMORY`.
pub type Register = unsafe extern "C" fn(
    this: *mut Interface,
    r#type: CallbackType,
    function: Option<Function>,
    argument: *mut c_void,
    callback: *mut *mut Callback,
) -> NtStatus;
/// `Deregister`: removes and frees a callback.
pub type Deregister = unsafe extern "C" fn(this: *mut Interface, callback: *mut Callback);
/// `Trigger`: suspends the domain and returns when it runs again. PASSIVE_LEVEL.
pub type Trigger = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `GetCount`: a number that changes across every resume; compare for inequality only. Any IRQL.
pub type GetCount = unsafe extern "C" fn(this: *mut Interface) -> u32;

/// `XENBUS_SUSPEND_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SuspendV1 {
    /// Header.
    pub interface: Interface,
    /// `Acquire`.
    pub acquire: Acquire,
    /// `Release`.
    pub release: Release,
    /// `Register`.
    pub register: Register,
    /// `Deregister`.
    pub deregister: Deregister,
    /// `Trigger`.
    pub trigger: Trigger,
    /// `GetCount`.
    pub get_count: GetCount,
}

table!(SuspendV1, GUID, 1, 80);

const _: () = {
    assert!(offset_of!(SuspendV1, release) == 0x28);
    assert!(offset_of!(SuspendV1, register) == 0x30);
    assert!(offset_of!(SuspendV1, deregister) == 0x38);
    assert!(offset_of!(SuspendV1, trigger) == 0x40);
    assert!(offset_of!(SuspendV1, get_count) == 0x48);
};
