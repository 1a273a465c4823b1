// SPDX-License-Identifier: BSD-2-Clause
//! SUSPEND, version 1.

use core::ffi::c_void;

use kexec::{Passive, Result, Status};
use xenbus_interface::suspend::{
    CALLBACK_EARLY, CALLBACK_LATE, Callback, CallbackType, Function, SuspendV1,
};
use xenbus_interface::{Interface, NtStatus};

use super::{acquire, bus, fdo, release};
use crate::suspend::Suspend;
use crate::suspend::callbacks::Phase;

pub(super) fn v1(context: *mut c_void) -> SuspendV1 {
    SuspendV1 {
        interface: Interface::of::<SuspendV1>(context),
        acquire: table_acquire,
        release: table_release,
        register,
        deregister,
        trigger,
        get_count,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().suspend, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().suspend);
}

unsafe extern "C" fn register(
    this: *mut Interface,
    kind: CallbackType,
    function: Option<Function>,
    argument: *mut c_void,
    callback: *mut *mut Callback,
) -> NtStatus {
    let registered = (|| -> Result<usize> {
        let phase = match kind {
            CALLBACK_EARLY => Phase::Early,
            CALLBACK_LATE => Phase::Late,
            _ => return Err(Status::INVALID_PARAMETER),
        };
        let function = function.ok_or(Status::INVALID_PARAMETER)?;
        if callback.is_null() {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: the table's contract.
        let bus = unsafe { bus(this)? };
        let call = (function as usize, argument as usize);
        bus.suspend().callbacks().register(phase, call)
    })();
    match registered {
        Ok(id) => {
            // SAFETY: the table's contract: not NULL, so valid. The handle is a number that only we read.
            unsafe { callback.write(core::ptr::without_provenance_mut(id)) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn deregister(this: *mut Interface, callback: *mut Callback) {
    // SAFETY: the table's contract.
    if let Ok(bus) = unsafe { bus(this) }
        && !bus.suspend().callbacks().deregister(callback.addr())
    {
        kexec::warn!("suspend: no such callback");
    }
}

unsafe extern "C" fn trigger(this: *mut Interface) -> NtStatus {
    let Some(passive) = Passive::here() else {
        return Status::INVALID_LEVEL.raw();
    };
    // SAFETY: the table's contract.
    match unsafe { bus(this) }.and_then(|bus| Suspend::trigger(bus.suspend(), passive)) {
        // A cancelled suspend is a success: the domain runs.
        Ok(_) => 0,
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn get_count(this: *mut Interface) -> u32 {
    // SAFETY: the table's contract.
    unsafe { fdo(this) }
        .gate()
        .visit(|bus| bus.suspend().count())
        .unwrap_or(0)
}
