// SPDX-License-Identifier: BSD-2-Clause
//! Grants: pages of ours that another domain may use, and pages of theirs.
//!
//! Waiting is built on the published table: a full one answers at once, so [`Cache::permit_when_free`] tries again when a grant
//! of the same cache ends, and every [`RETRY`] because another driver's may have. No callback of the bus is needed for that.

use core::ffi::CStr;
use core::fmt;

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Cache as Caching, IoMapping, PAGE_SIZE, Shared};
use kexec::sync::{Event, Reset};
use kexec::timer::Timers;
use kexec::{Duration, Passive, Result, Status, error};

use crate::ffi::gnttab::{RawCache, RawEntry, Service};
use crate::ffi::query::query;
use crate::gnttab::GnttabV4;

/// How often somebody who waits tries again.
pub const RETRY: Duration = Duration::from_millis(10);
/// The status of a full table or cache.
const FULL: Status = Status::INSUFFICIENT_RESOURCES;

/// A reference to the bus driver's grant table.
#[derive(Debug)]
pub struct Gnttab(Service);

impl Gnttab {
    /// Asks the device below for grants, version 4, and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<GnttabV4>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(table)
        }
    }

    /// Takes a reference to grants whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(table: GnttabV4) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Makes a cache: `reservation` grants that nobody else can use up, and at most `cap` (0: no limit).
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the reservation is above the cap. `INSUFFICIENT_RESOURCES`: it cannot be met. `BUFFER_OVERFLOW`: the
    /// name has more than 120 characters.
    pub fn cache(&self, name: &CStr, reservation: u32, cap: u32) -> Result<Cache<'_>> {
        Ok(Cache {
            service: &self.0,
            cache: self.0.create_cache(name, reservation, cap)?,
            freed: Event::new(Reset::Auto, false),
        })
    }

    /// What the live entry of a number says: frame, and whether it may only be read.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: beyond the table.
    ///
    /// # IRQL
    /// Any.
    pub fn query(&self, reference: u32) -> Result<(u64, bool)> {
        self.0.query(reference)
    }

    /// Maps pages that `domain` granted, one behind the other, all or none.
    ///
    /// # Errors
    /// The bus's, or `INSUFFICIENT_RESOURCES`.
    ///
    /// # IRQL
    /// <= APC_LEVEL, also to drop it.
    pub fn map(&self, domain: u16, references: &[u32], read_only: bool) -> Result<Foreign<'_>> {
        let address = self.0.map(domain, references, read_only)?;
        let pages = Mapped {
            service: &self.0,
            address,
        };
        let mapping = IoMapping::map(address, references.len() * PAGE_SIZE, Caching::Cached)?;
        Ok(Foreign {
            mapping,
            _pages: pages,
        })
    }
}

/// Grants of one client. Dropped after all of them.
pub struct Cache<'a> {
    service: &'a Service,
    cache: RawCache,
    /// Set when a grant of this cache ends.
    freed: Event,
}

impl fmt::Debug for Cache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache<'_> {
    /// Lets `domain` use the page with number `frame`, which `page` owns: it is kept until the grant has ended.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`: the cap is reached, or the table full; the page is dropped.
    pub fn permit<P>(
        &self,
        page: P,
        domain: u16,
        frame: u64,
        read_only: bool,
    ) -> Result<Grant<'_, P>> {
        let entry = self.service.permit(&self.cache, domain, frame, read_only)?;
        Ok(self.grant(page, entry))
    }

    /// As [`Self::permit`], but waits while there is no room: until a grant of this cache ends, or, looking every [`RETRY`], one
    /// of somebody else. Cancel-safe; the page is dropped then.
    ///
    /// # Errors
    /// The bus's other than `INSUFFICIENT_RESOURCES`.
    pub async fn permit_when_free<P>(
        &self,
        timers: &Timers,
        page: P,
        domain: u16,
        frame: u64,
        read_only: bool,
    ) -> Result<Grant<'_, P>> {
        loop {
            match self.service.permit(&self.cache, domain, frame, read_only) {
                Ok(entry) => return Ok(self.grant(page, entry)),
                Err(FULL) => {}
                Err(status) => return Err(status),
            }
            // Both ends of the wait mean the same: look again.
            let _ = timers.timeout(RETRY, self.freed.wait()).await;
        }
    }

    fn grant<P>(&self, page: P, entry: RawEntry) -> Grant<'_, P> {
        Grant {
            cache: self,
            entry,
            page: Some(page),
        }
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        self.service.destroy_cache(&self.cache);
    }
}

/// A page that another domain may use.
///
/// Dropping it revokes the grant and then drops the page. If the other side still has the page mapped, neither can be: the
/// page is leaked, because the other domain can go on writing to it, the number stays taken, and one line says so. Tell the
/// other side first, and end the grant with [`Self::end`].
#[must_use = "a grant is revoked when it is dropped"]
pub struct Grant<'a, P> {
    cache: &'a Cache<'a>,
    entry: RawEntry,
    /// `None` only at the end.
    page: Option<P>,
}

impl<P> fmt::Debug for Grant<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({})", self.reference())
    }
}

impl<P> Grant<'_, P> {
    /// The number to tell the other side.
    #[must_use]
    pub fn reference(&self) -> u32 {
        self.cache.service.reference(self.entry)
    }

    /// What owns the page.
    #[must_use]
    pub fn page(&self) -> &P {
        self.page
            .as_ref()
            .unwrap_or_else(|| unreachable!("the page is taken at the end"))
    }

    /// Whether the grant could be ended now.
    fn revoke(&self) -> Result {
        self.cache.service.revoke(&self.cache.cache, self.entry)?;
        self.cache.freed.set();
        Ok(())
    }

    /// The page of a grant that was revoked.
    fn into_page(mut self) -> P {
        let page = self.page.take();
        page.unwrap_or_else(|| unreachable!("the page is taken once"))
    }

    /// Ends the grant and gives the page back.
    ///
    /// # Errors
    /// `UNSUCCESSFUL`, and the grant: the other side still uses the page.
    pub fn try_end(self) -> core::result::Result<P, (Self, Status)> {
        match self.revoke() {
            Ok(()) => Ok(self.into_page()),
            Err(status) => Err((self, status)),
        }
    }

    /// Waits until the other side has let go, looking every [`RETRY`], and gives the page back. Cancelled, it is as if the grant
    /// was dropped.
    pub async fn end(self, timers: &Timers) -> P {
        while self.revoke().is_err() {
            timers.sleep(RETRY).await;
        }
        self.into_page()
    }
}

impl<P> Drop for Grant<'_, P> {
    fn drop(&mut self) {
        // Without its page the grant has ended already.
        let Some(page) = self.page.take() else {
            return;
        };
        if let Err(status) = self.revoke() {
            error!(
                "gnttab: grant {} dropped while in use, its page is leaked, {status}",
                self.reference()
            );
            core::mem::forget(page);
        }
    }
}

/// Foreign pages in a hole of the guest's memory.
#[derive(Debug)]
struct Mapped<'a> {
    service: &'a Service,
    address: u64,
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        if let Err(status) = self.service.unmap(self.address) {
            error!("gnttab: foreign pages stay mapped, {status}");
        }
    }
}

/// Mapped pages of another domain; unmapped when dropped.
#[derive(Debug)]
pub struct Foreign<'a> {
    // Dropped first.
    mapping: IoMapping,
    _pages: Mapped<'a>,
}

impl Foreign<'_> {
    /// The memory.
    #[must_use]
    pub fn shared(&self) -> Shared<'_> {
        self.mapping.shared()
    }
}
