// SPDX-License-Identifier: BSD-2-Clause
//! A client's grants: permit, revoke, and waiting for a free number.
//!
//! A grant is named by a [`Grant`]: the reference and a count of grants of that number. It is plain data, so that a C handle can
//! hold it; one that was revoked, or belongs to another cache, is refused. Dropping a [`Cache`] ends its promise; grants that are
//! left are revoked where nobody uses them, and stay out of circulation where somebody does.
//!
//! # IRQL
//! <= DISPATCH_LEVEL; no allocation except where the table grows. `permit_when_free` is polled at that of its task.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::Arc;
use kexec::{error, warn};

use super::host::GrantHost;
use super::table::{Account, Blocked, Gnttab, Taken};
use crate::status::{INVALID_PARAMETER, Result, Status, UNSUCCESSFUL};

/// How often a revocation looks before it says that the page is still in use.
pub const ATTEMPTS: u32 = 100;

/// One grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant(Taken);

impl Grant {
    /// The number to tell the peer.
    #[must_use]
    pub fn reference(self) -> u32 {
        self.0.reference
    }

    /// As one number that is not zero: what a C handle holds.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        // Reserved numbers are never handed out, so the low half is not zero.
        u64::from(self.0.generation) << 32 | u64::from(self.0.reference)
    }

    /// The grant of [`Self::to_bits`]. Any number is safe: [`Cache::revoke`] checks it.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(Taken {
            reference: bits as u32,
            generation: (bits >> 32) as u32,
        })
    }
}

/// A waiter that is counted while it lives.
struct Waiting<'a>([&'a AtomicU32; 2]);

impl<'a> Waiting<'a> {
    fn new(counters: [&'a AtomicU32; 2]) -> Self {
        for counter in counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        Self(counters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for counter in self.0 {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// See the module.
pub struct Cache<H: GrantHost> {
    table: Arc<Gnttab<H>>,
    account: Account,
}

impl<H: GrantHost> Cache<H> {
    /// A cache with `reservation` numbers that nobody else can take, and at most `cap` (0: as many as there are).
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the reservation is above the cap. `INSUFFICIENT_RESOURCES`: it cannot be met.
    pub fn try_new(table: &Arc<Gnttab<H>>, reservation: u32, cap: u32) -> Result<Self> {
        Ok(Self {
            table: table.clone(),
            account: table.open(reservation, cap)?,
        })
    }

    /// Grants that exist.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.account.used()
    }

    fn try_permit(
        &self,
        domain: u16,
        frame: u32,
        read_only: bool,
    ) -> core::result::Result<Grant, Blocked> {
        let taken = self.table.take(&self.account)?;
        // A number that was taken has an entry.
        if let Some(entry) = self.table.entry(taken.reference) {
            entry.permit(domain, frame, read_only);
        }
        Ok(Grant(taken))
    }

    /// Lets `domain` use guest frame `frame`.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`: the cap is reached, or the table full. `INVALID_PARAMETER`: the frame has more than 32 bits.
    pub fn permit(&self, domain: u16, frame: u64, read_only: bool) -> Result<Grant> {
        let frame = u32::try_from(frame).map_err(|_| INVALID_PARAMETER)?;
        self.try_permit(domain, frame, read_only)
            .map_err(Into::into)
    }

    /// As [`Self::permit`], but waits for a number where there is none: until one is revoked, by anybody if the table is full,
    /// by this cache if its cap is reached. Who waits longer comes first, except that `permit` may overtake. Cancel-safe.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the frame has more than 32 bits. `INSUFFICIENT_RESOURCES`: the table was lost in a suspend.
    pub async fn permit_when_free(
        &self,
        domain: u16,
        frame: u64,
        read_only: bool,
    ) -> Result<Grant> {
        let frame = u32::try_from(frame).map_err(|_| INVALID_PARAMETER)?;
        let (table, account) = (&*self.table, &self.account);
        // Counted before the look: whoever frees a number after it sees the count.
        let waiting = Waiting::new([&table.waiting, &account.waiting]);
        let result = loop {
            match self.try_permit(domain, frame, read_only) {
                Ok(grant) => break Ok(grant),
                Err(Blocked::Cap) => {
                    // What woke this waiter may be of use to one of another cache.
                    table.pass_on();
                    account.room.wait().await;
                }
                Err(Blocked::Table) => {
                    self.pass_on();
                    table.freed.wait().await;
                }
                Err(blocked) => break Err(Status::from(blocked)),
            }
        };
        drop(waiting);
        // Signals do not add up: the next waiter may go on as well.
        self.pass_on();
        table.pass_on();
        result
    }

    /// Wakes the first of those who wait for the cap, if it allows another grant.
    fn pass_on(&self) {
        if self.account.waiting.load(Ordering::Acquire) != 0 && !self.account.full() {
            self.account.room.set();
        }
    }

    /// Ends a grant. Looks at most [`ATTEMPTS`] times, and lets the peer run in between.
    ///
    /// # Errors
    /// `UNSUCCESSFUL`: the peer still uses the page. The grant stays as it is, and the page must too; try again later.
    /// `INVALID_PARAMETER`: not a grant of this cache, or not any more.
    pub fn revoke(&self, grant: Grant) -> Result {
        let Some(entry) = self.table.claim(&self.account, grant.0) else {
            error!("gnttab: {} is no grant to revoke", grant.reference());
            return Err(INVALID_PARAMETER);
        };
        for attempt in 1..=ATTEMPTS {
            if entry.try_revoke() {
                self.table.give(&self.account, grant.0);
                return Ok(());
            }
            if attempt != ATTEMPTS {
                self.table.host().yield_now();
            }
        }
        self.table.keep(&self.account, grant.0);
        Err(UNSUCCESSFUL)
    }
}

impl<H: GrantHost> Drop for Cache<H> {
    fn drop(&mut self) {
        let (left, used) = self.table.abandon(&self.account);
        if left != 0 {
            warn!("gnttab: cache destroyed with {left} grants, peers use {used} of them");
        }
    }
}
