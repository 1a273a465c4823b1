// SPDX-License-Identifier: BSD-2-Clause
//! DEBUG, version 1.

use core::ffi::{c_char, c_void};
use core::ptr;

use kexec::{Result, Status};
use xenbus_interface::debug::{Callback, DebugV1, Function, Printf};
use xenbus_interface::{Interface, NtStatus};

use super::super::debug::BusDebug;
use crate::status::no_memory;

use super::{VaList, acquire, bus, fdo, release, text, variadic};

pub(super) fn table(context: *mut c_void) -> DebugV1 {
    // SAFETY: the thunk reads what a call of that type passes, as the platform's calling convention lays it out.
    let printf = unsafe { core::mem::transmute::<*const (), Printf>(printf_thunk as *const ()) };
    DebugV1 {
        interface: Interface::of::<DebugV1>(context),
        acquire: table_acquire,
        release: table_release,
        register,
        printf,
        trigger,
        deregister,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) }.and_then(|bus| {
        bus.debug()?;
        Ok(bus)
    });
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().debug, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().debug);
}

/// Runs `f` with the service, at any IRQL.
///
/// # Safety
/// The table's contract.
unsafe fn with<T>(this: *mut Interface, f: impl FnOnce(&BusDebug) -> T) -> Result<T> {
    // SAFETY: passed on.
    unsafe { fdo(this) }
        .gate()
        .visit(|bus| bus.debug().map(|debug| f(debug)))
        .unwrap_or(Err(Status::DEVICE_NOT_READY))
}

/// The number behind a handle. Handles are numbers, so that one of an earlier start finds nothing.
fn number(callback: *mut Callback) -> u32 {
    callback.addr() as u32
}

unsafe extern "C" fn register(
    this: *mut Interface,
    prefix: *const c_char,
    function: Option<Function>,
    argument: *mut c_void,
    out: *mut *mut Callback,
) -> NtStatus {
    let Some(function) = function.filter(|_| !out.is_null()) else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: the table's contract.
    let prefix = unsafe { text(prefix) }.unwrap_or_default();
    // SAFETY: the table's contract.
    let registered = unsafe {
        with(this, |debug| {
            debug.register(prefix, function as usize, argument.expose_provenance())
        })
    };
    match registered {
        Ok(Ok(number)) => {
            // SAFETY: the table's contract: `out` is valid.
            unsafe { out.write(ptr::without_provenance_mut(number as usize)) };
            0
        }
        // What the interface promises for the only failure that it knows.
        Ok(Err(status)) => no_memory(status).raw(),
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn trigger(this: *mut Interface, callback: *mut Callback) {
    let number = (!callback.is_null()).then(|| number(callback));
    // SAFETY: the table's contract.
    let _ = unsafe { with(this, |debug| debug.trigger(number)) };
}

unsafe extern "C" fn deregister(this: *mut Interface, callback: *mut Callback) {
    // SAFETY: the table's contract.
    let _ = unsafe { with(this, |debug| debug.deregister(number(callback))) };
}

variadic!(printf_thunk => print);

/// `slots`: Interface, Format, then the variable arguments.
unsafe extern "C" fn print(slots: *const u64) {
    // SAFETY: the two declared arguments.
    let [this, format] = unsafe { slots.cast::<[usize; 2]>().read() };
    // SAFETY: behind them.
    let mut arguments = VaList(unsafe { slots.add(2) });
    // SAFETY: the table's contract.
    let format = unsafe { text(ptr::with_exposed_provenance(format)) }.unwrap_or_default();
    let this = ptr::with_exposed_provenance_mut(this);
    // SAFETY: the table's contract.
    let _ = unsafe {
        with(this, |debug| {
            debug.print(format.iter().copied(), &mut arguments);
        })
    };
}
