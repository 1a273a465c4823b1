// SPDX-License-Identifier: BSD-2-Clause
//! A watch over [`AsyncStoreV1`](crate::store_async::AsyncStoreV1).
//!
//! The callback's context is one pool block, made when the watch is added; a change allocates nothing.
//!
//! # IRQL
//! Added and dropped at `<= DISPATCH_LEVEL`, not from a callback of the store.

use core::ffi::c_void;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicI32, Ordering};
use core::task::{Context, Poll, ready};

use kexec::nt::{Box, Tag};
use kexec::sync::Notify;
use kexec::{Result, Status};

use super::request::Bus;
use crate::interface::NtStatus;
use crate::store_async::WatchHandle;

/// What the callback fills.
#[derive(Debug)]
struct Cell {
    /// The failure that ended the watch, or 0.
    failure: AtomicI32,
    notify: Notify,
}

/// A registered watch.
///
/// # Invariants
/// The handle is live, and `cell` is the context of its callback.
pub(crate) struct Registration<'a> {
    bus: &'a Bus,
    handle: *mut WatchHandle,
    cell: Box<Cell>,
}

// SAFETY: the handle may be given back on any processor; the cell is made of atomics.
unsafe impl Send for Registration<'_> {}
// SAFETY: as above; `&self` only reads atomics.
unsafe impl Sync for Registration<'_> {}

impl fmt::Debug for Registration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&*self.cell).finish()
    }
}

impl<'a> Registration<'a> {
    /// Registers a watch.
    pub(crate) fn try_new(bus: &'a Bus, tag: Tag, path: &[u8]) -> Result<Self> {
        let cell = Cell {
            failure: AtomicI32::new(0),
            notify: Notify::new(),
        };
        let cell = Box::try_new(tag, cell)?;
        let context = ptr::from_ref(&*cell).cast_mut().cast::<c_void>();
        let length = u32::try_from(path.len()).map_err(|_| Status::INVALID_BUFFER_SIZE)?;
        let mut handle = ptr::null_mut();
        // SAFETY: a reference is held; the path is copied; the context is a pool block that is freed
        // only after `watch_remove`.
        let status = unsafe {
            (bus.table().watch_add)(
                bus.this(),
                path.as_ptr(),
                length,
                Some(fired),
                context,
                &raw mut handle,
            )
        };
        Status::check(status)?;
        Ok(Self { bus, handle, cell })
    }

    /// Ready when the watch has fired since the last time; the failure when it is dead.
    pub(crate) fn poll_changed(&self, cx: &mut Context<'_>) -> Poll<Result> {
        if let Some(failure) = self.failure() {
            return Poll::Ready(Err(failure));
        }
        ready!(self.cell.notify.poll_notified(cx));
        Poll::Ready(self.failure().map_or(Ok(()), Err))
    }

    /// Waits for what [`Self::poll_changed`] says.
    pub(crate) async fn changed(&self) -> Result {
        self.cell
            .notify
            .wait_until(|cx| self.poll_changed(cx))
            .await
    }

    fn failure(&self) -> Option<Status> {
        Status::check(self.cell.failure.load(Ordering::Relaxed)).err()
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        // SAFETY: a reference is held; the handle is given back once. After this no callback runs, so
        // the cell may be freed.
        unsafe { (self.bus.table().watch_remove)(self.bus.this(), self.handle) };
    }
}

/// Notes a change. Called at DISPATCH_LEVEL.
///
/// # Safety
/// `context` is the cell of a watch that is not removed yet.
unsafe extern "C" fn fired(context: *mut c_void, status: NtStatus) {
    // SAFETY: by the contract; removing waits for this call.
    let cell = unsafe { &*context.cast_const().cast::<Cell>() };
    if Status::check(status).is_err() {
        // Ordered by the notification.
        cell.failure.store(status, Ordering::Relaxed);
    }
    cell.notify.notify();
}
