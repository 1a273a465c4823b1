// SPDX-License-Identifier: BSD-2-Clause
//! The published EVTCHN interface, versions 5 to 9.
//!
//! A channel's callback runs at the device IRQL of its vector with the interrupt's lock held and may
//! only count, queue a DPC, wake a waker, send, or unmask with `in_callback` true. A fresh channel is
//! masked until the first unmask. After `close` returns, a callback that already passed its check on
//! another CPU may still be finishing, so its argument must outlive the call.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use crate::interface::{Boolean, Guid, Interface, LargeInteger, NtStatus, table};

/// `GUID_XENBUS_EVTCHN_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0xBE2440AC_1098_4150_AF4D_452FADCEF923);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 5;
/// Newest version answered.
pub const VERSION_MAX: u16 = 9;

/// `XENBUS_EVTCHN_TYPE`.
pub type Type = u32;
/// `XENBUS_EVTCHN_TYPE_INVALID`.
pub const TYPE_INVALID: Type = 0;
/// `XENBUS_EVTCHN_TYPE_FIXED`: variadic `ULONG LocalPort, BOOLEAN Mask`.
pub const TYPE_FIXED: Type = 1;
/// `XENBUS_EVTCHN_TYPE_UNBOUND`: variadic `USHORT RemoteDomain, BOOLEAN Mask`.
pub const TYPE_UNBOUND: Type = 2;
/// `XENBUS_EVTCHN_TYPE_INTER_DOMAIN`: variadic `USHORT RemoteDomain, ULONG RemotePort, BOOLEAN Mask`.
pub const TYPE_INTER_DOMAIN: Type = 3;
/// `XENBUS_EVTCHN_TYPE_VIRQ`: variadic `ULONG Index` and, from version 9, `USHORT Group, UCHAR Number`.
pub const TYPE_VIRQ: Type = 4;

/// `XENBUS_EVTCHN_CHANNEL`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Channel {
    _opaque: [u8; 0],
}

/// `PKSERVICE_ROUTINE`: the interrupt object is NULL, the result is a BOOLEAN.
pub type ServiceRoutine =
    unsafe extern "C" fn(interrupt: *mut c_void, argument: *mut c_void) -> Boolean;

/// `EvtchnAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `EvtchnRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `EvtchnOpen`: NULL on any failure.
///
/// Published as variadic after `argument`. The three slots stand for the variadic arguments: an
/// integer argument is passed the same way by either form, and a provider reads only those slots
/// that the type calls for, masked to the width of the argument.
pub type Open = unsafe extern "C" fn(
    this: *mut Interface,
    r#type: Type,
    function: Option<ServiceRoutine>,
    argument: *mut c_void,
    slot0: u64,
    slot1: u64,
    slot2: u64,
) -> *mut Channel;
/// `EvtchnBind`.
pub type Bind = unsafe extern "C" fn(
    this: *mut Interface,
    channel: *mut Channel,
    group: u16,
    number: u8,
) -> NtStatus;
/// `EvtchnUnmaskVersion4`: as [`Unmask`] with `force` true and no result.
pub type UnmaskVersion4 =
    unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel, in_callback: Boolean);
/// `EvtchnUnmask`: TRUE means that the channel is still masked and there is more work.
pub type Unmask = unsafe extern "C" fn(
    this: *mut Interface,
    channel: *mut Channel,
    in_callback: Boolean,
    force: Boolean,
) -> Boolean;
/// `EvtchnSendVersion1`: at `<= DISPATCH_LEVEL`.
pub type SendVersion1 = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel);
/// `EvtchnSend`: at `>= DISPATCH_LEVEL`.
pub type Send = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel);
/// `EvtchnTrigger`: a local event without the hypervisor.
pub type Trigger = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel);
/// `EvtchnGetCount`: deliveries since the channel was opened.
pub type GetCount = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel) -> u32;
/// `EvtchnWaitVersion5`: waits for the next delivery.
pub type WaitVersion5 = unsafe extern "C" fn(
    this: *mut Interface,
    channel: *mut Channel,
    timeout: *const LargeInteger,
) -> NtStatus;
/// `EvtchnWait`: waits until the count reaches `count`; `STATUS_TIMEOUT` is a success code.
pub type Wait = unsafe extern "C" fn(
    this: *mut Interface,
    channel: *mut Channel,
    count: u32,
    timeout: *const LargeInteger,
) -> NtStatus;
/// `EvtchnGetPort`.
pub type GetPort = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel) -> u32;
/// `EvtchnClose`.
pub type Close = unsafe extern "C" fn(this: *mut Interface, channel: *mut Channel);

/// `XENBUS_EVTCHN_INTERFACE_V5`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvtchnV5 {
    /// Header.
    pub interface: Interface,
    /// `EvtchnAcquire`.
    pub acquire: Acquire,
    /// `EvtchnRelease`.
    pub release: Release,
    /// `EvtchnOpen`.
    pub open: Open,
    /// `EvtchnBind`.
    pub bind: Bind,
    /// `EvtchnUnmaskVersion4`.
    pub unmask: UnmaskVersion4,
    /// `EvtchnSendVersion1`.
    pub send: SendVersion1,
    /// `EvtchnTrigger`.
    pub trigger: Trigger,
    /// `EvtchnWaitVersion5`.
    pub wait: WaitVersion5,
    /// `EvtchnGetPort`.
    pub get_port: GetPort,
    /// `EvtchnClose`.
    pub close: Close,
}

/// `XENBUS_EVTCHN_INTERFACE_V6`: as version 5 with the newer send.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvtchnV6 {
    /// Header.
    pub interface: Interface,
    /// `EvtchnAcquire`.
    pub acquire: Acquire,
    /// `EvtchnRelease`.
    pub release: Release,
    /// `EvtchnOpen`.
    pub open: Open,
    /// `EvtchnBind`.
    pub bind: Bind,
    /// `EvtchnUnmaskVersion4`.
    pub unmask: UnmaskVersion4,
    /// `EvtchnSend`.
    pub send: Send,
    /// `EvtchnTrigger`.
    pub trigger: Trigger,
    /// `EvtchnWaitVersion5`.
    pub wait: WaitVersion5,
    /// `EvtchnGetPort`.
    pub get_port: GetPort,
    /// `EvtchnClose`.
    pub close: Close,
}

/// `XENBUS_EVTCHN_INTERFACE_V7`: counts, and a wait that takes one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvtchnV7 {
    /// Header.
    pub interface: Interface,
    /// `EvtchnAcquire`.
    pub acquire: Acquire,
    /// `EvtchnRelease`.
    pub release: Release,
    /// `EvtchnOpen`.
    pub open: Open,
    /// `EvtchnBind`.
    pub bind: Bind,
    /// `EvtchnUnmaskVersion4`.
    pub unmask: UnmaskVersion4,
    /// `EvtchnSend`.
    pub send: Send,
    /// `EvtchnTrigger`.
    pub trigger: Trigger,
    /// `EvtchnGetCount`.
    pub get_count: GetCount,
    /// `EvtchnWait`.
    pub wait: Wait,
    /// `EvtchnGetPort`.
    pub get_port: GetPort,
    /// `EvtchnClose`.
    pub close: Close,
}

/// `XENBUS_EVTCHN_INTERFACE_V8`: the newer unmask.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvtchnV8 {
    /// Header.
    pub interface: Interface,
    /// `EvtchnAcquire`.
    pub acquire: Acquire,
    /// `EvtchnRelease`.
    pub release: Release,
    /// `EvtchnOpen`.
    pub open: Open,
    /// `EvtchnBind`.
    pub bind: Bind,
    /// `EvtchnUnmask`.
    pub unmask: Unmask,
    /// `EvtchnSend`.
    pub send: Send,
    /// `EvtchnTrigger`.
    pub trigger: Trigger,
    /// `EvtchnGetCount`.
    pub get_count: GetCount,
    /// `EvtchnWait`.
    pub wait: Wait,
    /// `EvtchnGetPort`.
    pub get_port: GetPort,
    /// `EvtchnClose`.
    pub close: Close,
}

/// `XENBUS_EVTCHN_INTERFACE_V9`: laid out as version 8; a VIRQ channel's CPU is an argument of open.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EvtchnV9 {
    /// Header.
    pub interface: Interface,
    /// `EvtchnAcquire`.
    pub acquire: Acquire,
    /// `EvtchnRelease`.
    pub release: Release,
    /// `EvtchnOpen`.
    pub open: Open,
    /// `EvtchnBind`.
    pub bind: Bind,
    /// `EvtchnUnmask`.
    pub unmask: Unmask,
    /// `EvtchnSend`.
    pub send: Send,
    /// `EvtchnTrigger`.
    pub trigger: Trigger,
    /// `EvtchnGetCount`.
    pub get_count: GetCount,
    /// `EvtchnWait`.
    pub wait: Wait,
    /// `EvtchnGetPort`.
    pub get_port: GetPort,
    /// `EvtchnClose`.
    pub close: Close,
}

table!(EvtchnV5, GUID, 5, 112);
table!(EvtchnV6, GUID, 6, 112);
table!(EvtchnV7, GUID, 7, 120);
table!(EvtchnV8, GUID, 8, 120);
table!(EvtchnV9, GUID, 9, 120);

const _: () = {
    assert!(size_of::<EvtchnV8>() == size_of::<EvtchnV9>());
    assert!(offset_of!(EvtchnV5, unmask) == 0x40);
    assert!(offset_of!(EvtchnV5, wait) == 0x58);
    assert!(offset_of!(EvtchnV5, close) == 0x68);
    assert!(offset_of!(EvtchnV6, send) == 0x48);
    assert!(offset_of!(EvtchnV6, wait) == 0x58);
    assert!(offset_of!(EvtchnV6, close) == 0x68);
    assert!(offset_of!(EvtchnV7, get_count) == 0x58);
    assert!(offset_of!(EvtchnV7, close) == 0x70);
    assert!(offset_of!(EvtchnV8, unmask) == 0x40);
    assert!(offset_of!(EvtchnV8, close) == 0x70);
    assert!(offset_of!(EvtchnV9, open) == 0x30);
    assert!(offset_of!(EvtchnV9, bind) == 0x38);
    assert!(offset_of!(EvtchnV9, unmask) == 0x40);
    assert!(offset_of!(EvtchnV9, send) == 0x48);
    assert!(offset_of!(EvtchnV9, trigger) == 0x50);
    assert!(offset_of!(EvtchnV9, get_count) == 0x58);
    assert!(offset_of!(EvtchnV9, wait) == 0x60);
    assert!(offset_of!(EvtchnV9, get_port) == 0x68);
    assert!(offset_of!(EvtchnV9, close) == 0x70);
};
