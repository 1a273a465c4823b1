// SPDX-License-Identifier: BSD-2-Clause
//! The table: its frames, which numbers are free, and what was promised to whom.
//!
//! Free numbers are a list through an array that stands beside each frame, under one spin lock: taking and giving a number is a
//! few loads and stores, whatever the size of the table, and allocates nothing. When the list is empty the table grows by a
//! frame, outside that lock and one caller at a time, until Xen's limit. What a cache reserved is a number, not a list: nobody
//! takes a free number that is promised to somebody else.
//!
//! ```text
//!            1 frame mapped                2 take
//!   (none) ------------------> FREE ---------------> owned by a cache
//!      |                        ^ ^   3 give            |      |
//!      | 4 found in use         | +--------------------+      | 5 its cache is destroyed, peer still has the page
//!      |         6 sweep        |                              |
//!      +--------> ORPHAN -------+ <----------------------------+
//! ```
//! 1, 4 [`Gnttab::try_new`] and growing; 2 `take`; 3 `give`; 5 `abandon`; 6 `sweep`. A number leaves ORPHAN only when an
//! exchange has shown that nobody uses the entry.
//!
//! # IRQL
//! <= DISPATCH_LEVEL; [`Gnttab::query`] any; [`Gnttab::suspended`] any, with all other processors parked. Stops by being dropped.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kexec::nt::{Arc, SpinLock, Tag, Vec};
use kexec::sync::{Event, Reset, SetOnce};
use kexec::{error, info, warn};

use super::foreign::Foreign;
use super::host::{ENTRIES, Entry, GrantHost, Snapshot, TableFrame};
use crate::status::{DEVICE_NOT_READY, INSUFFICIENT_RESOURCES, INVALID_PARAMETER, Result, Status};

/// Pool tag.
pub const TAG: Tag = Tag(*b"XBgt");
/// Numbers that are never handed out: Xen and the toolstack own the first eight, a crash dump's drivers the others.
pub const RESERVED: u32 = 32;
/// More frames than any toolstack gives; bounds the array of frames.
const MOST_FRAMES: u32 = 1 << 16;

/// End of the free list.
const NIL: u32 = u32::MAX;
/// Owner of a free number.
const FREE: u32 = 0;
/// Owner of a number whose entry is in use although nobody here owns it.
const ORPHAN: u32 = 1;
/// Owner while a revocation looks at the entry.
const BUSY: u32 = 2;
/// Owner of a reserved number.
const KEPT: u32 = 3;
/// The first cache's number.
const FIRST_CACHE: u32 = 4;

/// What stands beside an entry.
struct Slot {
    /// One of the constants above, or the number of a cache.
    owner: AtomicU32,
    /// Counts grants, so that a handle of an earlier one is known.
    generation: AtomicU32,
    /// Next free number; under the table's lock.
    next: AtomicU32,
}

struct Segment<F> {
    slots: Vec<Slot>,
    frame: F,
}

struct State {
    head: u32,
    free: u32,
    /// Numbers that caches reserved and do not use; at most `free`.
    promised: u32,
    orphans: u32,
    next_cache: u32,
}

/// A number that was taken, and the grant that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number.
    pub reference: u32,
    /// Which grant of this number.
    pub generation: u32,
}

/// Why there is no number now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The cache has as many as it may have.
    Cap,
    /// The table is full, or cannot grow.
    Table,
    /// Grants are refused: the table was lost in a suspend.
    Lost,
}

impl From<Blocked> for Status {
    fn from(_: Blocked) -> Self {
        INSUFFICIENT_RESOURCES
    }
}

/// Counts of a table, for dumps and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Frames mapped, and at most.
    pub frames: (u32, u32),
    /// Free numbers.
    pub free: u32,
    /// Of those, promised to caches.
    pub promised: u32,
    /// Numbers in use by peers that nobody here owns.
    pub orphans: u32,
}

/// A cache's part of the accounts; changed under the table's lock only.
pub struct Account {
    id: u32,
    reservation: u32,
    /// 0: no limit.
    cap: u32,
    used: AtomicU32,
    /// Set when the cache falls below its cap while somebody waits.
    pub(super) room: Event,
    pub(super) waiting: AtomicU32,
}

impl Account {
    /// Numbers in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the cap forbids another.
    pub(super) fn full(&self) -> bool {
        self.cap != 0 && self.used() >= self.cap
    }

    /// What it was promised and does not use.
    fn unmet(&self) -> u32 {
        self.reservation.saturating_sub(self.used())
    }
}

/// The grant table of this domain.
pub struct Gnttab<H: GrantHost> {
    pub(super) foreign: Foreign<H>,
    host: H,
    segments: Vec<SetOnce<Segment<H::Frame>>>,
    state: SpinLock<State>,
    /// Frames mapped. Held while the table grows.
    growing: SpinLock<u32>,
    /// Where the next sweep begins.
    cursor: AtomicU32,
    lost: AtomicBool,
    epoch: AtomicU32,
    /// Set when a number becomes free while somebody waits.
    pub(super) freed: Event,
    pub(super) waiting: AtomicU32,
}

impl<H: GrantHost> Gnttab<H> {
    /// Takes the table over: entries of version 1, the first frame mapped.
    ///
    /// # Errors
    /// `NO_MEMORY`, or the hypervisor's.
    pub fn try_new(host: H) -> Result<Arc<Self>> {
        // Entries of version 2 have another layout. A hypervisor that does not know versions has version 1.
        if host.version() == Ok(2) {
            host.set_version(1)
                .inspect_err(|status| error!("gnttab: entries stay version 2, {status}"))?;
        }
        let most = host.max_frames()?.min(MOST_FRAMES);
        let mut segments = Vec::try_with_capacity(TAG, most as usize)?;
        for _ in 0..most {
            segments.try_push(SetOnce::new())?;
        }
        let state = State {
            head: NIL,
            free: 0,
            promised: 0,
            orphans: 0,
            next_cache: FIRST_CACHE,
        };
        let table = Self {
            foreign: Foreign::new(),
            host,
            segments,
            state: SpinLock::new(state),
            growing: SpinLock::new(0),
            cursor: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            freed: Event::new(Reset::Auto, false),
            waiting: AtomicU32::new(0),
        };
        table.grow(1)?;
        info!("gnttab: 1 frame mapped, at most {most}");
        Arc::try_new(TAG, table)
    }

    /// The seam.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Suspends that this table has lived through.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What there is.
    pub fn counts(&self) -> Counts {
        let frames = (*self.growing.lock(), self.segments.len() as u32);
        let state = self.state.lock();
        Counts {
            frames,
            free: state.free,
            promised: state.promised,
            orphans: state.orphans,
        }
    }

    fn segment(&self, reference: u32) -> Option<&Segment<H::Frame>> {
        self.segments.get(reference as usize / ENTRIES)?.get()
    }

    fn slot(&self, reference: u32) -> Option<&Slot> {
        let segment = self.segment(reference)?;
        segment.slots.get(reference as usize % ENTRIES)
    }

    /// The live entry of a number, if its frame is mapped. Any IRQL.
    pub(super) fn entry(&self, reference: u32) -> Option<&Entry> {
        let segment = self.segment(reference)?;
        segment.frame.entries().get(reference as usize % ENTRIES)
    }

    /// What the live entry says, whether it is valid or not. Any IRQL.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: beyond the frames that are mapped.
    pub fn query(&self, reference: u32) -> Result<Snapshot> {
        self.entry(reference)
            .map(Entry::snapshot)
            .ok_or(INVALID_PARAMETER)
    }

    /// After a resume: the table of the new domain takes the place of the old one, whose grants are gone. Numbers stay with
    /// their owners, who revoke them as always and grant again.
    ///
    /// # Errors
    /// The hypervisor's: a frame is missing, and nothing is granted any more until a later call succeeds.
    pub fn suspended(&self, epoch: u32) -> Result {
        self.epoch.store(epoch, Ordering::Release);
        let mut result = Ok(());
        for (index, segment) in (0..).zip(self.segments.iter()) {
            let Some(segment) = segment.get() else { break };
            if let Err(status) = self.host.restore_frame(&segment.frame, index) {
                error!("gnttab: frame {index} not mapped after the suspend, {status}");
                result = Err(status);
            }
        }
        self.lost.store(result.is_err(), Ordering::Release);
        result
    }

    /// Makes an account with a promise.
    pub(super) fn open(&self, reservation: u32, cap: u32) -> Result<Account> {
        if cap != 0 && reservation > cap {
            return Err(INVALID_PARAMETER);
        }
        for _ in 0..=self.segments.len() {
            let mut state = self.state.lock();
            if state.free - state.promised >= reservation {
                state.promised += reservation;
                let id = state.next_cache;
                // 2^32 caches later the numbers come again, past those that mean something else.
                state.next_cache = id.wrapping_add(1).max(FIRST_CACHE);
                return Ok(Account {
                    id,
                    reservation,
                    cap,
                    used: AtomicU32::new(0),
                    room: Event::new(Reset::Auto, false),
                    waiting: AtomicU32::new(0),
                });
            }
            drop(state);
            self.grow(reservation)?;
        }
        Err(INSUFFICIENT_RESOURCES)
    }

    /// Takes a number for `account`.
    pub(super) fn take(&self, account: &Account) -> core::result::Result<Taken, Blocked> {
        if self.lost.load(Ordering::Acquire) {
            return Err(Blocked::Lost);
        }
        // As often as the table can grow, and once more: others may take what was added.
        for _ in 0..=self.segments.len() {
            let mut state = self.state.lock();
            if account.full() {
                return Err(Blocked::Cap);
            }
            let promised = account.unmet() != 0;
            if (promised || state.free > state.promised)
                && let Some(taken) = self.pop(&mut state, account.id)
            {
                state.promised -= u32::from(promised);
                account.used.store(account.used() + 1, Ordering::Relaxed);
                return Ok(taken);
            }
            drop(state);
            if self.grow(1).is_err() && !self.sweep() {
                return Err(Blocked::Table);
            }
        }
        Err(Blocked::Table)
    }

    fn pop(&self, state: &mut State, owner: u32) -> Option<Taken> {
        let reference = state.head;
        let slot = self.slot(reference)?;
        state.head = slot.next.load(Ordering::Relaxed);
        state.free -= 1;
        let generation = slot.generation.load(Ordering::Relaxed);
        slot.owner.store(owner, Ordering::Release);
        Some(Taken {
            reference,
            generation,
        })
    }

    fn push(state: &mut State, reference: u32, slot: &Slot) {
        let generation = slot.generation.load(Ordering::Relaxed);
        slot.generation
            .store(generation.wrapping_add(1), Ordering::Relaxed);
        slot.next.store(state.head, Ordering::Relaxed);
        slot.owner.store(FREE, Ordering::Release);
        state.head = reference;
        state.free += 1;
    }

    /// Claims a number that belongs to this grant of `account` for looking at its entry; only one caller can.
    pub(super) fn claim(&self, account: &Account, taken: Taken) -> Option<&Entry> {
        let slot = self.slot(taken.reference)?;
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        slot.owner
            .compare_exchange(account.id, BUSY, order.0, order.1)
            .ok()?;
        // The generation changes only when the number is given, which nobody else can while it is claimed.
        if slot.generation.load(Ordering::Relaxed) != taken.generation {
            slot.owner.store(account.id, Ordering::Release);
            return None;
        }
        self.entry(taken.reference)
    }

    /// Gives a claim up: the number stays the account's.
    pub(super) fn keep(&self, account: &Account, taken: Taken) {
        if let Some(slot) = self.slot(taken.reference) {
            slot.owner.store(account.id, Ordering::Release);
        }
    }

    /// Gives a claimed number back, its entry is clear.
    pub(super) fn give(&self, account: &Account, taken: Taken) {
        let Some(slot) = self.slot(taken.reference) else {
            return;
        };
        let mut state = self.state.lock();
        Self::push(&mut state, taken.reference, slot);
        account.used.store(account.used() - 1, Ordering::Relaxed);
        if account.used() < account.reservation {
            state.promised += 1;
        }
        drop(state);
        if account.waiting.load(Ordering::Acquire) != 0 {
            account.room.set();
        }
        self.pass_on();
    }

    /// Wakes the first of those who wait for a free number, if there is one for it.
    pub(super) fn pass_on(&self) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let state = self.state.lock();
        let some = state.free > state.promised;
        drop(state);
        if some {
            self.freed.set();
        }
    }

    /// Ends an account: its promise, and the numbers that it still has. Those that a peer uses stay out of circulation.
    /// Returns how many it still had, and how many of those are in use.
    pub(super) fn abandon(&self, account: &Account) -> (u32, u32) {
        let mut state = self.state.lock();
        state.promised -= account.unmet();
        drop(state);
        let left = account.used();
        let mut used = 0;
        if left != 0 {
            used = self.reclaim(account.id, 0, self.segments.len());
        }
        self.pass_on();
        (left, used)
    }

    /// Frees numbers of `owner` in these segments whose entries nobody uses, the others become orphans; how many.
    fn reclaim(&self, owner: u32, from: usize, to: usize) -> u32 {
        let mut kept = 0;
        for index in from..to.min(self.segments.len()) {
            let Some(segment) = self.segments[index].get() else {
                break;
            };
            // One lock for each frame, so that others get in between.
            let mut state = self.state.lock();
            for (at, (slot, entry)) in segment
                .slots
                .iter()
                .zip(segment.frame.entries())
                .enumerate()
            {
                if slot.owner.load(Ordering::Acquire) != owner {
                    continue;
                }
                let reference = (index * ENTRIES + at) as u32;
                if entry.try_revoke() {
                    Self::push(&mut state, reference, slot);
                    state.orphans -= u32::from(owner == ORPHAN);
                } else {
                    slot.owner.store(ORPHAN, Ordering::Release);
                    state.orphans += u32::from(owner != ORPHAN);
                    kept += 1;
                }
            }
        }
        kept
    }

    /// Looks at the orphans of one frame, another one each time; true if a number became free.
    fn sweep(&self) -> bool {
        let mapped = *self.growing.lock();
        let state = self.state.lock();
        let (orphans, before) = (state.orphans, state.free);
        drop(state);
        if orphans == 0 || mapped == 0 {
            return false;
        }
        let at = (self.cursor.fetch_add(1, Ordering::Relaxed) % mapped) as usize;
        self.reclaim(ORPHAN, at, at + 1);
        self.state.lock().free > before
    }

    /// Adds a frame, unless `need` numbers are free and not promised by now.
    fn grow(&self, need: u32) -> Result {
        let mut mapped = self.growing.lock();
        {
            let state = self.state.lock();
            if *mapped != 0 && state.free - state.promised >= need {
                return Ok(());
            }
        }
        let index = *mapped;
        let place = self
            .segments
            .get(index as usize)
            .ok_or(INSUFFICIENT_RESOURCES)?;
        if self.lost.load(Ordering::Acquire) {
            return Err(DEVICE_NOT_READY);
        }
        let mut slots = Vec::try_with_capacity(TAG, ENTRIES)?;
        for _ in 0..ENTRIES {
            slots.try_push(Slot {
                owner: AtomicU32::new(KEPT),
                generation: AtomicU32::new(0),
                next: AtomicU32::new(NIL),
            })?;
        }
        let frame = self.host.map_frame(index)?;
        let segment = place.set(Segment { slots, frame });
        let segment = segment.map_err(|_| Status::INTERNAL_ERROR)?;
        *mapped += 1;
        let mut state = self.state.lock();
        let first = index * ENTRIES as u32;
        // Backwards, so that the lowest number comes out first. A predecessor may have left entries behind.
        for at in (0..ENTRIES as u32).rev() {
            let reference = first + at;
            if reference < RESERVED {
                break;
            }
            let (slot, entry) = (
                &segment.slots[at as usize],
                &segment.frame.entries()[at as usize],
            );
            if entry.try_revoke() {
                Self::push(&mut state, reference, slot);
            } else {
                slot.owner.store(ORPHAN, Ordering::Release);
                state.orphans += 1;
            }
        }
        let orphans = state.orphans;
        drop(state);
        if orphans != 0 {
            warn!("gnttab: {orphans} entries are in use by peers and not handed out");
        }
        Ok(())
    }
}

impl<H: GrantHost> Drop for Gnttab<H> {
    fn drop(&mut self) {
        let orphans = self.state.get_mut().orphans;
        if orphans != 0 {
            warn!("gnttab: peers still use {orphans} pages at the end");
        }
        self.foreign
            .end(&self.host, self.epoch.load(Ordering::Acquire));
        // Newest first.
        self.segments.clear();
    }
}
