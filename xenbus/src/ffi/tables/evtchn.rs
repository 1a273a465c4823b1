// SPDX-License-Identifier: BSD-2-Clause
//! EVTCHN, versions 5 to 9.

use core::ffi::c_void;
use core::ptr;

use kexec::irql::Raised;
use kexec::nt::{cpu, time};
use kexec::{Result, Status};
use xenbus_interface::evtchn::{
    self as raw, EvtchnV5, EvtchnV6, EvtchnV7, EvtchnV8, EvtchnV9, ServiceRoutine,
};
use xenbus_interface::{Interface, NtStatus};

use super::super::hypervisor::Xen;
use super::{acquire, bus, fdo, handle, peek, release, take};
use crate::evtchn::Channel;
use crate::facade::evtchn::{self, Slots};

/// STATUS_TIMEOUT, a success code.
const TIMED_OUT: NtStatus = kexec::status::STATUS_TIMEOUT;

macro_rules! tables {
    ($($name:ident: $table:ident { $($field:ident: $value:expr),* $(,)? };)*) => { $(
        pub(super) fn $name(context: *mut c_void) -> $table {
            $table {
                interface: Interface::of::<$table>(context),
                acquire: table_acquire,
                release: table_release,
                open,
                bind,
                trigger,
                get_port,
                close,
                $($field: $value),*
            }
        }
    )* };
}

tables! {
    v5: EvtchnV5 { unmask: unmask_v4, send: send_v1, wait: wait_v5 };
    v6: EvtchnV6 { unmask: unmask_v4, send: send, wait: wait_v5 };
    v7: EvtchnV7 { unmask: unmask_v4, send: send, get_count: get_count, wait: wait };
    v8: EvtchnV8 { unmask: unmask, send: send, get_count: get_count, wait: wait };
    v9: EvtchnV9 { unmask: unmask, send: send, get_count: get_count, wait: wait };
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().evtchn, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().evtchn);
}

/// The slots behind the declared arguments.
struct Three([u64; 3]);

impl Slots for Three {
    fn slot(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }
}

/// Index of a processor by group and number.
fn index_of(group: u16, number: u8) -> Option<u32> {
    (0..cpu::max_count()).find(|&index| cpu::number(index) == Ok((group, number)))
}

unsafe extern "C" fn open(
    this: *mut Interface,
    kind: u32,
    function: Option<ServiceRoutine>,
    argument: *mut c_void,
    slot0: u64,
    slot1: u64,
    slot2: u64,
) -> *mut raw::Channel {
    // SAFETY: the table's contract.
    let version = unsafe { (*this).version };
    let opened = (|| -> Result<*mut raw::Channel> {
        // SAFETY: the table's contract.
        let bus = unsafe { bus(this)? };
        let (kind, auto_mask) =
            evtchn::parse_open(version, kind, &Three([slot0, slot1, slot2]), index_of)?;
        let channel = evtchn::open(
            bus.evtchn(),
            kind,
            auto_mask,
            function.map_or(0, |function| function as usize),
            argument as usize,
        )?;
        handle(channel)
    })();
    opened.unwrap_or_else(|status| {
        kexec::debug!("evtchn: not opened, {status}");
        ptr::null_mut()
    })
}

/// The channel of a handle.
///
/// # Safety
/// A handle of `open` that is not closed during `'a`.
unsafe fn channel<'a>(handle: *mut raw::Channel) -> Option<&'a Channel<Xen>> {
    // SAFETY: by the contract.
    unsafe { peek(handle) }
}

unsafe extern "C" fn bind(
    _this: *mut Interface,
    handle: *mut raw::Channel,
    group: u16,
    number: u8,
) -> NtStatus {
    // SAFETY: the table's contract.
    let channel = unsafe { channel(handle) };
    let (Some(channel), Some(cpu)) = (channel, index_of(group, number)) else {
        return Status::INVALID_PARAMETER.raw();
    };
    Status::of(&channel.bind(cpu))
}

unsafe extern "C" fn unmask(
    _this: *mut Interface,
    handle: *mut raw::Channel,
    in_callback: u8,
    force: u8,
) -> u8 {
    // SAFETY: the table's contract.
    let more = unsafe { channel(handle) }
        .is_some_and(|channel| channel.unmask(in_callback != 0, force != 0));
    u8::from(more)
}

unsafe extern "C" fn unmask_v4(this: *mut Interface, handle: *mut raw::Channel, in_callback: u8) {
    // SAFETY: passed on.
    let _ = unsafe { unmask(this, handle, in_callback, 1) };
}

unsafe extern "C" fn send(_this: *mut Interface, handle: *mut raw::Channel) {
    // SAFETY: the table's contract.
    if let Some(channel) = unsafe { channel(handle) } {
        channel.send();
    }
}

unsafe extern "C" fn send_v1(this: *mut Interface, handle: *mut raw::Channel) {
    // Version 5 raises by itself: a suspend must not come between the check and the hypercall.
    let _raised = Raised::to_dispatch();
    // SAFETY: passed on.
    unsafe { send(this, handle) };
}

unsafe extern "C" fn trigger(_this: *mut Interface, handle: *mut raw::Channel) {
    // SAFETY: the table's contract.
    if let Some(channel) = unsafe { channel(handle) } {
        channel.trigger();
    }
}

unsafe extern "C" fn get_count(_this: *mut Interface, handle: *mut raw::Channel) -> u32 {
    // SAFETY: the table's contract.
    unsafe { channel(handle) }.map_or(0, Channel::count)
}

unsafe extern "C" fn get_port(_this: *mut Interface, handle: *mut raw::Channel) -> u32 {
    // SAFETY: the table's contract.
    unsafe { channel(handle) }.map_or(0, Channel::port)
}

unsafe extern "C" fn wait(
    this: *mut Interface,
    handle: *mut raw::Channel,
    count: u32,
    timeout: *const i64,
) -> NtStatus {
    // SAFETY: the table's contract.
    let channel = unsafe { channel(handle) };
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    let (Some(channel), Ok(bus)) = (channel, bus) else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: the table's contract: NULL or valid.
    let timeout = unsafe { timeout.as_ref() }.copied();
    match evtchn::wait_for(channel, bus.ring(), count, timeout, || {
        time::system_time().cast_signed()
    }) {
        Ok(true) => 0,
        Ok(false) => TIMED_OUT,
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn wait_v5(
    this: *mut Interface,
    handle: *mut raw::Channel,
    timeout: *const i64,
) -> NtStatus {
    // SAFETY: the table's contract.
    let next = unsafe { channel(handle) }.map_or(0, |channel| channel.count().wrapping_add(1));
    // SAFETY: passed on.
    unsafe { wait(this, handle, next, timeout) }
}

unsafe extern "C" fn close(_this: *mut Interface, handle: *mut raw::Channel) {
    // SAFETY: the table's contract: closed once.
    drop(unsafe { take::<Channel<Xen>, _>(handle) });
}
