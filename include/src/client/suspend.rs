// SPDX-License-Identifier: BSD-2-Clause
//! Suspends: who wants to know that the domain was saved and lives on, perhaps on another host.
//!
//! Grants and event channels of before are dead then, watches of the asynchronous store have fired, and requests that were
//! outstanding have been sent again or failed. The notification comes after the bus is in order again.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use kexec::nt::Tag;
use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result};

use crate::ffi::query::query;
use crate::ffi::suspend::{Listener, Service};
use crate::suspend::SuspendV1;

/// A reference to the bus driver's suspend service.
#[derive(Debug)]
pub struct Suspend {
    service: Service,
    tag: Tag,
}

impl Suspend {
    /// Asks the device below and takes a reference. `tag` is that of the pool block of each [`Resumes`].
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(tag: Tag, below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<SuspendV1>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(tag, table)
        }
    }

    /// Takes a reference to a service whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(tag: Tag, table: SuspendV1) -> Result<Self> {
        // SAFETY: by the contract.
        let service = unsafe { Service::acquire(table)? };
        Ok(Self { service, tag })
    }

    /// A number that is another one after each suspend; compare for inequality only.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.service.count()
    }

    /// Suspends the domain; returns when it runs again. A cancelled suspend is a success and changes nothing.
    ///
    /// Blocks for the whole suspend: from a thread, never from a task.
    ///
    /// # Errors
    /// The processors did not come together; nothing was suspended.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn trigger(&self, passive: Passive) -> Result {
        self.service.trigger(passive)
    }

    /// The suspends from now on, as a stream.
    ///
    /// # Errors
    /// Out of memory.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn resumes(&self) -> Result<Resumes<'_>> {
        let listener = self.service.listen(self.tag)?;
        Ok(Resumes(listener))
    }
}

/// A stream of suspends that were survived; those not looked at yet are one.
///
/// Dropped at `<= DISPATCH_LEVEL`.
#[derive(Debug)]
pub struct Resumes<'a>(Listener<'a>);

impl Resumes<'_> {
    /// Waits for the next one; the new [`Suspend::count`]. Cancel-safe. One task waits at a time.
    pub async fn next(&self) -> u32 {
        self.0.next().await;
        self.0.service().count()
    }
}

impl Stream for Resumes<'_> {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.0.poll(cx).map(|()| Some(self.0.service().count()))
    }
}
