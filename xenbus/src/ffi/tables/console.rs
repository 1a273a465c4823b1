// SPDX-License-Identifier: BSD-2-Clause
//! CONSOLE, version 1.

use core::ffi::{c_char, c_void};

use kexec::Status;
use kexec::nt::{Arc, sys};
use xenbus_interface::console::{ConsoleV1, Wakeup as RawWakeup};
use xenbus_interface::{Interface, KEvent, NtStatus};

use super::super::console::BusConsole;
use super::{acquire, bus, bytes, fdo, handle, release, take};
use crate::console::Wakeup;

pub(super) fn table(context: *mut c_void) -> ConsoleV1 {
    ConsoleV1 {
        interface: Interface::of::<ConsoleV1>(context),
        acquire: table_acquire,
        release: table_release,
        can_read,
        read,
        can_write,
        write,
        wakeup_add,
        wakeup_remove,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) }.and_then(|bus| {
        bus.console()?;
        Ok(bus)
    });
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().console, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().console);
}

/// Runs `f` with the console, at any IRQL; 0 without one.
///
/// # Safety
/// The table's contract.
unsafe fn with(this: *mut Interface, f: impl FnOnce(&BusConsole) -> usize) -> u32 {
    // SAFETY: passed on.
    let moved = unsafe { fdo(this) }
        .gate()
        .visit(|bus| bus.console().map_or(0, |console| f(console)));
    // At most the length of a call, which is a u32.
    moved.unwrap_or(0) as u32
}

unsafe extern "C" fn can_read(this: *mut Interface) -> u8 {
    // SAFETY: passed on.
    unsafe { with(this, |console| usize::from(console.can_read())) as u8 }
}

unsafe extern "C" fn can_write(this: *mut Interface) -> u8 {
    // SAFETY: passed on.
    unsafe { with(this, |console| usize::from(console.can_write())) as u8 }
}

unsafe extern "C" fn read(this: *mut Interface, data: *mut c_char, length: u32) -> u32 {
    if data.is_null() {
        return 0;
    }
    // SAFETY: the table's contract: the caller's buffer, which nobody else uses during the call.
    let data = unsafe { core::slice::from_raw_parts_mut(data.cast::<u8>(), length as usize) };
    // SAFETY: passed on.
    unsafe { with(this, |console| console.read(data)) }
}

unsafe extern "C" fn write(this: *mut Interface, data: *const c_char, length: u32) -> u32 {
    // SAFETY: the table's contract.
    let data = unsafe { bytes(data.cast(), length) };
    // SAFETY: passed on.
    unsafe { with(this, |console| console.write(data)) }
}

/// Sets the KEVENT of a wakeup.
fn signal(event: usize) {
    // SAFETY: the requester's event, which stays until the wakeup is removed; DISPATCH_LEVEL.
    unsafe { sys::KeSetEvent(event as *mut sys::KEVENT, 0, 0) };
}

/// What a handle stands for.
struct Added {
    console: Arc<BusConsole>,
    number: u32,
}

unsafe extern "C" fn wakeup_add(
    this: *mut Interface,
    event: *mut KEvent,
    out: *mut *mut RawWakeup,
) -> NtStatus {
    if event.is_null() || out.is_null() {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: the table's contract.
    let console = unsafe { bus(this) }.and_then(|bus| bus.console().cloned());
    let added = console.and_then(|console| {
        let number = console.add(Wakeup {
            signal,
            context: event as usize,
        })?;
        handle(Added {
            console: console.clone(),
            number,
        })
        .inspect_err(|_| console.remove(number))
    });
    match added {
        Ok(wakeup) => {
            // SAFETY: the table's contract: `out` is valid.
            unsafe { out.write(wakeup) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn wakeup_remove(_this: *mut Interface, wakeup: *mut RawWakeup) {
    // SAFETY: the table's contract: removed once.
    if let Some(added) = unsafe { take::<Added, _>(wakeup) } {
        added.console.remove(added.number);
    }
}
