// SPDX-License-Identifier: BSD-2-Clause
//! The console over [`ConsoleV1`].

use core::ptr::{self, NonNull};

use kexec::nt::{Arc, Event, EventKind, Tag};
use kexec::{Result, Status};

use super::reference::Reference;
use crate::console::{ConsoleV1, Wakeup};

/// A reference to the console.
pub(crate) type Service = Reference<ConsoleV1>;

impl Service {
    pub(crate) fn can_read(&self) -> bool {
        // SAFETY: a reference is held.
        unsafe { (self.table().can_read)(self.this()) != 0 }
    }

    pub(crate) fn can_write(&self) -> bool {
        // SAFETY: a reference is held.
        unsafe { (self.table().can_write)(self.this()) != 0 }
    }

    pub(crate) fn read(&self, to: &mut [u8]) -> usize {
        let length = u32::try_from(to.len()).unwrap_or(u32::MAX);
        // SAFETY: a reference is held; the buffer is as long as said.
        let moved = unsafe { (self.table().read)(self.this(), to.as_mut_ptr().cast(), length) };
        // A provider that lies must not make us believe in bytes that are not there.
        (moved as usize).min(to.len())
    }

    pub(crate) fn write(&self, from: &[u8]) -> usize {
        let length = u32::try_from(from.len()).unwrap_or(u32::MAX);
        // SAFETY: a reference is held; the buffer is as long as said and only read.
        let moved = unsafe { (self.table().write)(self.this(), from.as_ptr().cast(), length) };
        (moved as usize).min(from.len())
    }

    /// An event that is set whenever the other end has read or written.
    pub(crate) fn listen(&self, tag: Tag) -> Result<Listener<'_>> {
        let event = Arc::try_new(tag, Event::try_new(tag, EventKind::Synchronization)?)?;
        let mut wakeup = ptr::null_mut();
        // SAFETY: a reference is held; the event is pool memory that is freed after the wakeup was removed.
        let status = unsafe {
            (self.table().wakeup_add)(self.this(), event.as_raw().cast(), &raw mut wakeup)
        };
        Status::check(status)?;
        Ok(Listener {
            service: self,
            wakeup: NonNull::new(wakeup).ok_or(Status::UNSUCCESSFUL)?,
            event,
        })
    }
}

/// A registered event.
///
/// # Invariants
/// `wakeup` is registered with `event`.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    service: &'a Service,
    wakeup: NonNull<Wakeup>,
    event: Arc<Event>,
}

// SAFETY: the handle may be given back on any processor.
unsafe impl Send for Listener<'_> {}
// SAFETY: as above.
unsafe impl Sync for Listener<'_> {}

impl Listener<'_> {
    pub(crate) fn service(&self) -> &Service {
        self.service
    }

    pub(crate) fn event(&self) -> &Arc<Event> {
        &self.event
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let service = self.service;
        // SAFETY: registered, and removed once; the event goes after this.
        unsafe { (service.table().wakeup_remove)(service.this(), self.wakeup.as_ptr()) };
    }
}
