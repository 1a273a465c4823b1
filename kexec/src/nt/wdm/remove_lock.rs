// SPDX-License-Identifier: BSD-2-Clause
//! The I/O manager's remove lock, as an object inside a device's extension.

use core::cell::UnsafeCell;
use core::ptr;

use crate::irql::Passive;
use crate::nt::sys::{self, IO_REMOVE_LOCK};
use crate::status::{Result, Status};

/// Counts the requests inside a device; removal waits for them.
///
/// It must not move after [`RemoveLock::init`]: keep it in the device's extension.
///
/// # IRQL
/// As said at each method.
#[derive(Debug)]
pub struct RemoveLock(UnsafeCell<IO_REMOVE_LOCK>);

// SAFETY: the lock is the kernel's own synchronisation object.
unsafe impl Send for RemoveLock {}
// SAFETY: as above.
unsafe impl Sync for RemoveLock {}

const SIZE: u32 = size_of::<IO_REMOVE_LOCK>() as u32;

impl RemoveLock {
    /// A lock that still needs [`RemoveLock::init`] at its final place.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(IO_REMOVE_LOCK { Opaque: [0; 0x20] }))
    }

    /// Initialises the lock where it lies.
    ///
    /// # Safety
    /// Called once, before any other method; the lock does not move or die afterwards while it is used.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub unsafe fn init(&self, tag: [u8; 4], _passive: Passive) {
        // SAFETY: memory of the right size that stays in place (caller); free-build size.
        unsafe { sys::IoInitializeRemoveLockEx(self.0.get(), u32::from_le_bytes(tag), 0, 0, SIZE) };
    }

    /// Enters the device.
    ///
    /// # Errors
    /// `STATUS_DELETE_PENDING` once removal has begun.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn acquire(&self) -> Result<RemoveGuard<'_>> {
        // SAFETY: initialised (contract of `init`); tag and file are only looked at by checked builds.
        let status = unsafe {
            sys::IoAcquireRemoveLockEx(self.0.get(), ptr::null_mut(), c"".as_ptr(), 0, SIZE)
        };
        Status::check(status).map(|()| RemoveGuard(self))
    }

    /// Begins removal with the guard of the removing request, and waits for all others.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn release_and_wait(&self, guard: RemoveGuard<'_>, _passive: Passive) {
        core::mem::forget(guard);
        // SAFETY: gives back the acquisition that the forgotten guard stood for, and marks the lock removed.
        unsafe { sys::IoReleaseRemoveLockAndWaitEx(self.0.get(), ptr::null_mut(), SIZE) };
    }
}

impl Default for RemoveLock {
    fn default() -> Self {
        Self::new()
    }
}

/// A request inside the device; dropping it leaves.
///
/// # IRQL
/// Any; its drop: <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct RemoveGuard<'a>(&'a RemoveLock);

impl Drop for RemoveGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: gives back the acquisition that the guard stands for.
        unsafe { sys::IoReleaseRemoveLockEx(self.0.0.get(), ptr::null_mut(), SIZE) };
    }
}
