// SPDX-License-Identifier: BSD-2-Clause
//! Debug callbacks over [`DebugV1`].

use core::ffi::c_void;
use core::fmt::{self, Write};
use core::ptr::{self, NonNull};

use kexec::nt::log::Line;
use kexec::nt::{Box, Tag};
use kexec::{Result, Status};

use super::reference::Reference;
use crate::client::Dump;
use crate::debug::{Callback, DebugV1};
use crate::interface::Boolean;

/// A reference to the debug service.
pub(crate) type Service = Reference<DebugV1>;

impl Service {
    /// Runs a callback, or all.
    pub(crate) fn trigger(&self, callback: *mut Callback) {
        // SAFETY: a reference is held; NULL, or registered.
        unsafe { (self.table().trigger)(self.this(), callback) };
    }

    /// Registers `state`.
    pub(crate) fn register<T: Dump>(
        &self,
        tag: Tag,
        prefix: &str,
        state: T,
    ) -> Result<Registered<'_, T>> {
        let mut name = Line::<32>::new();
        let _ = name.write_str(prefix);
        let mut bytes = [0; 32];
        bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
        let cell = Box::try_new(
            tag,
            Cell {
                service: ptr::from_ref(self),
                state,
            },
        )?;
        let context = ptr::from_ref(&*cell).cast_mut();
        let mut callback = ptr::null_mut();
        // SAFETY: a reference is held; the prefix ends in NUL and is copied; the context is a pool block that is freed after the
        // callback was removed.
        let status = unsafe {
            (self.table().register)(
                self.this(),
                bytes.as_ptr().cast(),
                Some(run::<T>),
                context.cast(),
                &raw mut callback,
            )
        };
        Status::check(status)?;
        Ok(Registered {
            service: self,
            callback: NonNull::new(callback).ok_or(Status::UNSUCCESSFUL)?,
            cell,
        })
    }
}

struct Cell<T> {
    service: *const Service,
    state: T,
}

/// A registered callback.
///
/// # Invariants
/// `callback` is registered with `cell` as its argument.
pub(crate) struct Registered<'a, T> {
    service: &'a Service,
    callback: NonNull<Callback>,
    cell: Box<Cell<T>>,
}

// SAFETY: the handle may be used on any processor; the state is `Send` and `Sync` (`Dump`).
unsafe impl<T: Dump> Send for Registered<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Dump> Sync for Registered<'_, T> {}

impl<T> fmt::Debug for Registered<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl<T> Registered<'_, T> {
    pub(crate) fn trigger(&self) {
        self.service.trigger(self.callback.as_ptr());
    }

    pub(crate) fn state(&self) -> &T {
        &self.cell.state
    }
}

impl<T> Drop for Registered<'_, T> {
    fn drop(&mut self) {
        let service = self.service;
        // SAFETY: registered, and removed once; the cell goes after this, when no callback is running.
        unsafe { (service.table().deregister)(service.this(), self.callback.as_ptr()) };
    }
}

/// Prints lines in the name of the callback that is running.
pub(crate) struct Lines<'a>(&'a Service);

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines<'_> {
    pub(crate) fn print(&self, text: fmt::Arguments<'_>) {
        let mut line = Line::<200>::new();
        let _ = line.write_fmt(text);
        let mut bytes = [0u8; 200];
        bytes[..line.as_str().len()].copy_from_slice(line.as_str().as_bytes());
        let service = self.0;
        // SAFETY: a reference is held and this is a debug callback; the format names one argument, a string that ends in NUL.
        unsafe { (service.table().printf)(service.this(), c"%s\n".as_ptr(), bytes.as_ptr()) };
    }
}

/// # Safety
/// `argument` is the cell of a registered callback.
unsafe extern "C" fn run<T: Dump>(argument: *mut c_void, crashing: Boolean) {
    // SAFETY: by the contract.
    let cell = unsafe { &*argument.cast_const().cast::<Cell<T>>() };
    // SAFETY: the service outlives its callbacks.
    let service = unsafe { &*cell.service };
    cell.state
        .dump(&crate::client::Printer::new(Lines(service)), crashing != 0);
}
