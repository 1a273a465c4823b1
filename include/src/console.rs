// SPDX-License-Identifier: BSD-2-Clause
//! The published CONSOLE interface, version 1.
//!
//! A pipe of bytes to the domain's console in both directions. Nothing blocks: reads and writes move
//! what fits. `acquire` fails where the domain has no console. All wakeups must be removed before the
//! last `release`.

use core::ffi::c_char;
use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, KEvent, NtStatus, PStr, table};

/// `GUID_XENBUS_CONSOLE_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x04C4F738_034A_4268_BD20_A92AC90D4F82);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 1;

/// `XENBUS_CONSOLE_WAKEUP`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Wakeup {
    _opaque: [u8; 0],
}

/// `ConsoleAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `ConsoleRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `ConsoleCanRead`: whether there is a byte to read. Any IRQL.
pub type CanRead = unsafe extern "C" fn(this: *mut Interface) -> Boolean;
/// `ConsoleRead`: reads at most `length` bytes and says how many. Any IRQL.
pub type Read = unsafe extern "C" fn(this: *mut Interface, data: *mut c_char, length: u32) -> u32;
/// `ConsoleCanWrite`: whether there is room for a byte. Any IRQL.
pub type CanWrite = unsafe extern "C" fn(this: *mut Interface) -> Boolean;
/// `ConsoleWrite`: writes at most `length` bytes and says how many. Any IRQL.
pub type Write = unsafe extern "C" fn(this: *mut Interface, data: PStr, length: u32) -> u32;
/// `ConsoleWakeupAdd`: the event is set whenever the other end has read or written.
/// `STATUS_NO_MEMORY`.
pub type WakeupAdd = unsafe extern "C" fn(
    this: *mut Interface,
    event: *mut KEvent,
    wakeup: *mut *mut Wakeup,
) -> NtStatus;
/// `ConsoleWakeupRemove`.
pub type WakeupRemove = unsafe extern "C" fn(this: *mut Interface, wakeup: *mut Wakeup);

/// `XENBUS_CONSOLE_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConsoleV1 {
    /// Header.
    pub interface: Interface,
    /// `ConsoleAcquire`.
    pub acquire: Acquire,
    /// `ConsoleRelease`.
    pub release: Release,
    /// `ConsoleCanRead`.
    pub can_read: CanRead,
    /// `ConsoleRead`.
    pub read: Read,
    /// `ConsoleCanWrite`.
    pub can_write: CanWrite,
    /// `ConsoleWrite`.
    pub write: Write,
    /// `ConsoleWakeupAdd`.
    pub wakeup_add: WakeupAdd,
    /// `ConsoleWakeupRemove`.
    pub wakeup_remove: WakeupRemove,
}

table!(ConsoleV1, GUID, 1, 96);

const _: () = {
    assert!(offset_of!(ConsoleV1, release) == 0x28);
    assert!(offset_of!(ConsoleV1, can_read) == 0x30);
    assert!(offset_of!(ConsoleV1, read) == 0x38);
    assert!(offset_of!(ConsoleV1, can_write) == 0x40);
    assert!(offset_of!(ConsoleV1, write) == 0x48);
    assert!(offset_of!(ConsoleV1, wakeup_add) == 0x50);
    assert!(offset_of!(ConsoleV1, wakeup_remove) == 0x58);
};
