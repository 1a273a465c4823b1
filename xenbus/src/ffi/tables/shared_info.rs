// SPDX-License-Identifier: BSD-2-Clause
//! SHARED_INFO, versions 2 to 4.

use core::ffi::c_void;

use kexec::irql::Raised;
use kexec::nt::{cpu, time};
use xenbus_interface::shared_info::{Event, SharedInfoV2, SharedInfoV3, SharedInfoV4};
use xenbus_interface::{Interface, NtStatus};

use super::super::bus::Bus;
use super::{acquire, bus, fdo, release};
use crate::shared_info;

pub(super) fn v2(context: *mut c_void) -> SharedInfoV2 {
    SharedInfoV2 {
        interface: Interface::of::<SharedInfoV2>(context),
        acquire: table_acquire,
        release: table_release,
        upcall_pending,
        evtchn_poll,
        evtchn_ack,
        evtchn_mask,
        evtchn_unmask,
        get_time: get_time_v2,
    }
}

pub(super) fn v3(context: *mut c_void) -> SharedInfoV3 {
    SharedInfoV3 {
        interface: Interface::of::<SharedInfoV3>(context),
        acquire: table_acquire,
        release: table_release,
        upcall_pending,
        evtchn_poll,
        evtchn_ack,
        evtchn_mask,
        evtchn_unmask,
        get_time,
    }
}

pub(super) fn v4(context: *mut c_void) -> SharedInfoV4 {
    SharedInfoV4 {
        interface: Interface::of::<SharedInfoV4>(context),
        acquire: table_acquire,
        release: table_release,
        upcall_supported,
        upcall_pending,
        evtchn_poll,
        evtchn_ack,
        evtchn_mask,
        evtchn_unmask,
        get_time,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().shared_info, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().shared_info);
}

/// Runs `f` with what exists since the last start, at any IRQL.
///
/// # Safety
/// The table's contract.
unsafe fn with<T>(this: *mut Interface, otherwise: T, f: impl FnOnce(&Bus) -> T) -> T {
    // SAFETY: passed on.
    unsafe { fdo(this) }.gate().visit(f).unwrap_or(otherwise)
}

unsafe extern "C" fn upcall_supported(this: *mut Interface, index: u32) -> u8 {
    // SAFETY: the table's contract.
    let supported = unsafe {
        with(this, false, |bus| {
            shared_info::upcall_supported(bus.evtchn().host(), index)
        })
    };
    u8::from(supported)
}

unsafe extern "C" fn upcall_pending(this: *mut Interface, index: u32) -> u8 {
    // SAFETY: the table's contract.
    let pending = unsafe {
        with(this, false, |bus| {
            shared_info::upcall_pending(bus.evtchn().host(), index)
        })
    };
    u8::from(pending)
}

unsafe extern "C" fn evtchn_poll(
    this: *mut Interface,
    index: u32,
    event: Option<Event>,
    argument: *mut c_void,
) -> u8 {
    let Some(event) = event else {
        return 0;
    };
    // SAFETY: the table's contract: callable with its argument for the time of the poll.
    let visit = |port| unsafe { event(argument, port) } != 0;
    // SAFETY: the table's contract.
    let any = unsafe {
        with(this, false, |bus| {
            bus.polls().poll(bus.evtchn().host(), index, visit)
        })
    };
    u8::from(any)
}

unsafe extern "C" fn evtchn_ack(this: *mut Interface, port: u32) {
    // SAFETY: the table's contract.
    unsafe { with(this, (), |bus| shared_info::ack(bus.evtchn().host(), port)) }
}

unsafe extern "C" fn evtchn_mask(this: *mut Interface, port: u32) {
    // SAFETY: the table's contract.
    unsafe { with(this, (), |bus| shared_info::mask(bus.evtchn().host(), port)) }
}

unsafe extern "C" fn evtchn_unmask(this: *mut Interface, port: u32) -> u8 {
    // SAFETY: the table's contract.
    let pending = unsafe {
        with(this, false, |bus| {
            shared_info::unmask(bus.evtchn().host(), port)
        })
    };
    u8::from(pending)
}

/// The time, and whether it is local.
///
/// # Safety
/// The table's contract.
unsafe fn read_time(this: *mut Interface) -> (i64, bool) {
    // No suspend between the records and the counter that belongs to them.
    let _raised = Raised::at_least_dispatch();
    // SAFETY: passed on.
    let read = unsafe {
        with(this, (None, false), |bus| {
            let host = bus.evtchn().host();
            let now = shared_info::time::now(host, cpu::current(), time::tsc);
            (now, bus.clock_is_local())
        })
    };
    // A page that Xen never finishes writing: the guest's own clock is the next best.
    let ticks = read.0.unwrap_or_else(time::system_time);
    (ticks.cast_signed(), read.1)
}

unsafe extern "C" fn get_time(this: *mut Interface, time: *mut i64, local: *mut u8) {
    // SAFETY: passed on.
    let (ticks, is_local) = unsafe { read_time(this) };
    // SAFETY: the table's contract: NULL or valid.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = ticks;
    }
    // SAFETY: as above; children do pass NULL here.
    if let Some(local) = unsafe { local.as_mut() } {
        *local = u8::from(is_local);
    }
}

unsafe extern "C" fn get_time_v2(this: *mut Interface) -> i64 {
    // SAFETY: passed on.
    unsafe { read_time(this) }.0
}
