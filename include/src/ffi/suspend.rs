// SPDX-License-Identifier: BSD-2-Clause
//! A LATE callback and a count over [`SuspendV1`].
//!
//! The callback runs while every other processor is parked, so a removal never meets it: once `deregister` has returned the block
//! that it fills may be freed.

use core::ffi::c_void;
use core::fmt;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll};

use kexec::nt::{Arc, Tag};
use kexec::sync::Notify;
use kexec::{Passive, Result, Status};

use super::reference::Reference;
use crate::suspend::{CALLBACK_LATE, Callback, SuspendV1};

/// A reference to the bus driver's suspend service.
pub(crate) type Service = Reference<SuspendV1>;

impl Service {
    /// Another number after each suspend.
    pub(crate) fn count(&self) -> u32 {
        // SAFETY: a reference is held.
        unsafe { (self.table().get_count)(self.this()) }
    }

    /// Suspends the domain and waits until it runs again.
    pub(crate) fn trigger(&self, _level: Passive) -> Result {
        // SAFETY: a reference is held; PASSIVE_LEVEL (token).
        Status::check(unsafe { (self.table().trigger)(self.this()) })
    }

    /// Registers a LATE callback that leaves a notification.
    pub(crate) fn listen(&self, tag: Tag) -> Result<Listener<'_>> {
        let cell = Arc::try_new(tag, Notify::new())?;
        let context = ptr::from_ref(&*cell).cast_mut();
        let mut callback = ptr::null_mut();
        // SAFETY: a reference is held; the context is a pool block that is freed after the callback was removed.
        let status = unsafe {
            (self.table().register)(
                self.this(),
                CALLBACK_LATE,
                Some(resumed),
                context.cast(),
                &raw mut callback,
            )
        };
        Status::check(status)?;
        Ok(Listener {
            service: self,
            callback: NonNull::new(callback).ok_or(Status::UNSUCCESSFUL)?,
            cell,
        })
    }
}

/// A registered callback.
///
/// # Invariants
/// `callback` is registered with `cell` as its argument.
pub(crate) struct Listener<'a> {
    service: &'a Service,
    callback: NonNull<Callback>,
    cell: Arc<Notify>,
}

// SAFETY: the handle may be given back on any processor; the cell is made of atomics.
unsafe impl Send for Listener<'_> {}
// SAFETY: as above.
unsafe impl Sync for Listener<'_> {}

impl fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener<'_> {
    /// The service.
    pub(crate) fn service(&self) -> &Service {
        self.service
    }

    /// Waits for a callback that no earlier wait has reported.
    pub(crate) async fn next(&self) {
        self.cell.notified().await;
    }

    /// Ready once after each callback.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.poll_notified(cx)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let service = self.service;
        // SAFETY: registered, and removed once.
        unsafe { (service.table().deregister)(service.this(), self.callback.as_ptr()) };
        // Only now may `cell` go, with the other fields.
    }
}

/// Tells the listener. Called at DISPATCH_LEVEL with every other processor parked.
///
/// # Safety
/// `argument` is the cell of a registered listener.
unsafe extern "C" fn resumed(argument: *mut c_void) {
    // SAFETY: by the contract.
    unsafe { &*argument.cast_const().cast::<Notify>() }.notify();
}
