// SPDX-License-Identifier: BSD-2-Clause
//! The asynchronous store table, version 1.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;

use kexec::nt::{Arc, Box};
use kexec::{Result, Status};
use xenbus_interface::store_async::{
    AsyncStoreV1, Completion, Request, RequestHandle, WatchCallback, WatchHandle,
};
use xenbus_interface::{Interface, NtStatus};

use super::super::TAG;
use super::{acquire, bytes, caller, release, take};
use crate::facade::store_async::{self, LiveWatch, Operation, Pending};
use crate::store::request::{Callback, Request as StoreRequest};

pub(super) fn table(context: *mut c_void) -> AsyncStoreV1 {
    AsyncStoreV1 {
        interface: Interface::of::<AsyncStoreV1>(context),
        acquire: table_acquire,
        release: table_release,
        submit,
        close,
        watch_add,
        watch_remove,
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let caller = unsafe { caller(this) };
    match caller.fdo() {
        Ok(fdo) => acquire(&fdo.references().store_async, fdo.bus()),
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    if let Ok(fdo) = unsafe { caller(this) }.fdo() {
        release(&fdo.references().store_async);
    }
}

/// Calls a requester's completion.
fn complete(callback: &Callback, result: Result<&[u8]>) {
    // SAFETY: `submit` made the number of a completion.
    let routine = unsafe { core::mem::transmute::<usize, Completion>(callback.routine) };
    let (status, data) = match result {
        Ok(data) => (0, data),
        Err(status) => (status.raw(), &[][..]),
    };
    // SAFETY: the requester's routine and context, valid until its handle is closed.
    unsafe {
        routine(
            callback.context as *mut c_void,
            status,
            data.as_ptr(),
            data.len() as u32,
        )
    };
}

/// Calls a requester's watch callback.
fn fired(callback: &Callback, result: Result<&[u8]>) {
    // SAFETY: `watch_add` made the number of a watch callback.
    let routine = unsafe { core::mem::transmute::<usize, WatchCallback>(callback.routine) };
    let status = result.map_or_else(Status::raw, |_| 0);
    // SAFETY: the requester's routine and context, valid until its watch is removed.
    unsafe { routine(callback.context as *mut c_void, status) };
}

unsafe extern "C" fn submit(
    this: *mut Interface,
    request: *const Request,
    completion: Option<Completion>,
    context: *mut c_void,
    out: *mut *mut RequestHandle,
) -> NtStatus {
    // SAFETY: the table's contract.
    let result = unsafe { try_submit(this, request, completion, context) };
    let (status, handle) = result.map_or_else(
        |status| (status.raw(), ptr::null_mut()),
        |handle| (0, handle),
    );
    if !out.is_null() {
        // SAFETY: the table's contract: NULL or valid.
        unsafe { out.write(handle) };
    }
    status
}

/// # Safety
/// The contract of `Submit`.
unsafe fn try_submit(
    this: *mut Interface,
    request: *const Request,
    completion: Option<Completion>,
    context: *mut c_void,
) -> Result<*mut RequestHandle> {
    // SAFETY: by the contract.
    let caller = unsafe { caller(this) };
    let client = caller.client(&*caller.bus()?);
    if request.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: by the contract: at least its size is there.
    let size = unsafe { (*request).size } as usize;
    if size < size_of::<Request>() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: by the contract, and large enough.
    let request = unsafe { request.read() };
    // SAFETY: by the contract.
    let path = unsafe { bytes(request.path, request.path_length) };
    // SAFETY: by the contract.
    let value = unsafe { bytes(request.value, request.value_length) };
    let operation = Operation {
        number: request.operation,
        transaction: request.transaction,
        path,
        value,
    };
    let callback = completion.map(|routine| Callback {
        call: complete,
        routine: routine as usize,
        context: context as usize,
    });
    let pending = store_async::submit(&client, operation, callback)?;
    Ok(pending.map_or(ptr::null_mut(), |Pending(request)| {
        Arc::into_raw(request).cast_mut().cast()
    }))
}

unsafe extern "C" fn close(_this: *mut Interface, handle: *mut RequestHandle) {
    if !handle.is_null() {
        // SAFETY: the table's contract: a handle of `submit`, closed once.
        Pending(unsafe { Arc::from_raw(handle.cast::<StoreRequest>()) }).close();
    }
}

unsafe extern "C" fn watch_add(
    this: *mut Interface,
    path: *const u8,
    path_length: u32,
    callback: Option<WatchCallback>,
    context: *mut c_void,
    out: *mut *mut WatchHandle,
) -> NtStatus {
    let (Some(callback), false) = (callback, out.is_null()) else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: the table's contract.
    let caller = unsafe { caller(this) };
    let added = caller.bus().and_then(|bus| {
        // SAFETY: the table's contract.
        let path = unsafe { bytes(path, path_length) };
        let callback = Callback {
            call: fired,
            routine: callback as usize,
            context: context as usize,
        };
        // Made before anything can be called back: a failure status promises that nothing will be.
        let mut place = Box::try_new(TAG, None::<LiveWatch>)?;
        *place = Some(store_async::watch_add(
            &caller.client(&bus),
            path,
            callback,
        )?);
        Ok(place.into_raw().as_ptr().cast())
    });
    match added {
        Ok(watch) => {
            // SAFETY: the table's contract: valid.
            unsafe { out.write(watch) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn watch_remove(_this: *mut Interface, watch: *mut WatchHandle) {
    // SAFETY: the table's contract: a handle of `watch_add`, removed once.
    if let Some(Some(watch)) = unsafe { take::<Option<LiveWatch>, _>(watch) } {
        watch.remove();
    }
}
