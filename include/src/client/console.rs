// SPDX-License-Identifier: BSD-2-Clause
//! The domain's console: bytes to and from the toolstack's console daemon.
//!
//! The published interface tells of changes through a KEVENT, on which no task can wait; [`Console::changes`] has a thread that
//! does, for whoever wants to await them.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, ready};

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag, Thread};
use kexec::sync::Notify;
use kexec::{Passive, Result};

use crate::console::ConsoleV1;
use crate::ffi::console::{Listener, Service};
use crate::ffi::query::query;

/// A reference to the bus driver's console.
#[derive(Debug)]
pub struct Console(Service);

impl Console {
    /// Asks the device below and takes a reference.
    ///
    /// # Errors
    /// The provider's status; a domain may have no console.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<ConsoleV1>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(table)
        }
    }

    /// Takes a reference to a console whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(table: ConsoleV1) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Whether a byte can be read.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.0.can_read()
    }

    /// Whether a byte can be written.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.0.can_write()
    }

    /// Takes what is there; the number of bytes.
    ///
    /// # IRQL
    /// Any; the buffer is resident.
    pub fn try_read(&self, to: &mut [u8]) -> usize {
        self.0.read(to)
    }

    /// Gives what fits; the number of bytes.
    ///
    /// # IRQL
    /// Any; the buffer is resident.
    pub fn try_write(&self, from: &[u8]) -> usize {
        self.0.write(from)
    }

    /// The way to wait for bytes and for room, with a thread of its own.
    ///
    /// # Errors
    /// Out of memory.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL; dropped there too, which joins the thread.
    pub fn changes(&self, tag: Tag, passive: Passive) -> Result<Changes<'_>> {
        let listener = self.0.listen(tag)?;
        let shared = Arc::try_new(tag, Shared::default())?;
        let (waits, event) = (shared.clone(), listener.event().clone());
        let thread = Thread::spawn(tag, passive, move |passive| {
            while !waits.stop.load(Ordering::Acquire) {
                let _ = event.wait(passive, None);
                waits.changed.notify();
            }
        })?;
        Ok(Changes {
            listener,
            shared,
            thread: Some(thread),
        })
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    changed: Notify,
}

/// Waits for the console's other end. One task waits at a time.
#[derive(Debug)]
pub struct Changes<'a> {
    listener: Listener<'a>,
    shared: Arc<Shared>,
    thread: Option<Thread>,
}

impl Changes<'_> {
    /// Takes at least one byte; the number of bytes. Cancel-safe: bytes are taken when the future is ready.
    pub async fn read(&self, to: &mut [u8]) -> usize {
        if to.is_empty() {
            return 0;
        }
        let changed = &self.shared.changed;
        let look = |cx: &mut Context<'_>| {
            loop {
                let moved = self.listener.service().read(to);
                if moved > 0 {
                    return Poll::Ready(moved);
                }
                // Polled after the look: bytes that came since have left their permit.
                ready!(changed.poll_notified(cx));
            }
        };
        changed.wait_until(look).await
    }

    /// Gives all bytes. When dropped in between, some were given.
    pub async fn write_all(&self, from: &[u8]) {
        let mut rest = from;
        let changed = &self.shared.changed;
        let look = |cx: &mut Context<'_>| {
            while !rest.is_empty() {
                let moved = self.listener.service().write(rest);
                rest = &rest[moved..];
                if moved == 0 {
                    ready!(changed.poll_notified(cx));
                }
            }
            Poll::Ready(())
        };
        changed.wait_until(look).await;
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.listener.event().set();
        // Joined here, before the listener goes.
        self.thread.take();
    }
}
