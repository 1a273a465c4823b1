// SPDX-License-Identifier: BSD-2-Clause
//! A store request as a future over [`AsyncStoreV1`].
//!
//! The future is the completion's context, so nothing is allocated for it and it must be pinned. It is
//! submitted by its first poll. Dropping it closes the request, which cancels it or waits for a
//! completion that is running on another processor; after that nobody has its address.
//!
//! # IRQL
//! Polled and dropped at `<= DISPATCH_LEVEL`, and not with a lock held that a completion could want.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use core::task::{Context, Poll, ready};

use kexec::sync::Notify;
use kexec::{Result, Status};

use super::reference::Reference;
use crate::interface::NtStatus;
use crate::store_async::{AsyncStoreV1, Request, RequestHandle};

/// A reference to the bus driver's store.
pub(crate) type Bus = Reference<AsyncStoreV1>;

impl Bus {
    /// Submits a request whose outcome nobody waits for.
    pub(crate) fn submit_detached(&self, operation: u32, transaction: u64) {
        let request = request(operation, transaction, &[], &[]);
        // SAFETY: a reference is held; the request is a local that is copied; no completion is given,
        // so there is neither a context nor a handle.
        let status = unsafe {
            (self.table().submit)(
                self.this(),
                &raw const request,
                None,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if let Err(status) = Status::check(status) {
            kexec::warn!("store: a request that nobody waits for was refused, {status}");
        }
    }
}

/// What a reply becomes. Runs in the completion, at DISPATCH_LEVEL.
pub(crate) trait Reply: Sized {
    /// Takes the reply's data.
    fn from_reply(data: &[u8]) -> Result<Self>;
}

/// The C form of a request.
fn request(operation: u32, transaction: u64, path: &[u8], value: &[u8]) -> Request {
    Request {
        size: size_of::<Request>() as u32,
        operation,
        transaction,
        path: path.as_ptr(),
        value: value.as_ptr(),
        // A length that does not fit is far over the payload limit, and so is this one.
        path_length: u32::try_from(path.len()).unwrap_or(u32::MAX),
        value_length: u32::try_from(value.len()).unwrap_or(u32::MAX),
    }
}

/// What the completion fills.
#[derive(Debug)]
struct Cell<T> {
    /// Written by the completion before it notifies, read by the future after.
    result: UnsafeCell<Option<Result<T>>>,
    notify: Notify,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Submission<'a, T: Reply> {
    bus: &'a Bus,
    operation: u32,
    transaction: u64,
    path: &'a [u8],
    value: &'a [u8],
    submitted: AtomicBool,
    /// NULL before the request is submitted and after it is closed.
    handle: AtomicPtr<RequestHandle>,
    cell: Cell<T>,
    _pinned: PhantomPinned,
}

// SAFETY: the cell is shared with the completion, which hands the result over by the notification's
// release and acquire; everything else is only used by the owner.
unsafe impl<T: Reply + Send> Send for Submission<'_, T> {}

impl<'a, T: Reply> Submission<'a, T> {
    /// A request that its first poll submits.
    pub(crate) fn new(
        bus: &'a Bus,
        operation: u32,
        transaction: u64,
        path: &'a [u8],
        value: &'a [u8],
    ) -> Self {
        Self {
            bus,
            operation,
            transaction,
            path,
            value,
            submitted: AtomicBool::new(false),
            handle: AtomicPtr::default(),
            cell: Cell {
                result: UnsafeCell::new(None),
                notify: Notify::new(),
            },
            _pinned: PhantomPinned,
        }
    }

    fn submit(self: Pin<&Self>) -> Result {
        let this = self.get_ref();
        let request = request(this.operation, this.transaction, this.path, this.value);
        let context = ptr::from_ref(&this.cell).cast_mut().cast::<c_void>();
        let mut handle = ptr::null_mut();
        kexec::probe!(Submit);
        // SAFETY: a reference is held; request and buffers are copied by the callee; the context is
        // pinned and stays until the handle is closed, by `close` at the latest in `drop`.
        let status = unsafe {
            (this.bus.table().submit)(
                this.bus.this(),
                &raw const request,
                Some(complete::<T>),
                context,
                &raw mut handle,
            )
        };
        Status::check(status)?;
        this.handle.store(handle, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the handle back; then nobody else uses the cell.
    fn close(&self) {
        let handle = self.handle.swap(ptr::null_mut(), Ordering::Relaxed);
        if !handle.is_null() {
            // SAFETY: a reference is held; the handle came from `submit` and is given back once.
            unsafe { (self.bus.table().close)(self.bus.this(), handle) };
        }
    }
}

/// Takes the reply over. Called at DISPATCH_LEVEL, at most once for each request.
///
/// # Safety
/// `context` is the cell of a request whose handle is not closed; `data` has `length` bytes.
unsafe extern "C" fn complete<T: Reply>(
    context: *mut c_void,
    status: NtStatus,
    data: *const u8,
    length: u32,
) {
    kexec::probe!(Complete);
    // SAFETY: by the contract; the cell outlives this call because closing waits for it.
    let cell = unsafe { &*context.cast_const().cast::<Cell<T>>() };
    let data = if data.is_null() {
        &[]
    } else {
        // SAFETY: by the contract.
        unsafe { core::slice::from_raw_parts(data, length as usize) }
    };
    let result = Status::check(status).and_then(|()| T::from_reply(data));
    // SAFETY: the owner reads the result only after the notification or after closing, so this is the
    // only access.
    unsafe { *cell.result.get() = Some(result) };
    cell.notify.notify();
}

impl<T: Reply> Future for Submission<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.as_ref();
        if !this.submitted.swap(true, Ordering::Relaxed) {
            this.submit()?;
        }
        if this.handle.load(Ordering::Relaxed).is_null() {
            // Polled again after it was ready.
            return Poll::Ready(Err(Status::INVALID_DEVICE_STATE));
        }
        ready!(this.cell.notify.poll_notified(cx));
        this.close();
        // SAFETY: the request is closed, so the completion has returned and nobody else has the cell.
        let result = unsafe { (*this.cell.result.get()).take() };
        kexec::probe!(Done);
        Poll::Ready(result.unwrap_or(Err(Status::INTERNAL_ERROR)))
    }
}

impl<T: Reply> Drop for Submission<'_, T> {
    fn drop(&mut self) {
        self.close();
    }
}
