// SPDX-License-Identifier: BSD-2-Clause
//! The state of each channel, where an interrupt finds it without a lock.
//!
//! Slots live in pages, each twice the one before, that are published once and freed with the whole service, so an interrupt may
//! look at a slot at any time. A port maps to a slot by two loads. Whether the channel in the slot is
//! the one meant is checked between [`Slot::enter`] and [`Slot::leave`]: a close that has marked the
//! slot either is seen by the interrupt, or sees the interrupt inside and waits for it.
//!
//! ```text
//!         open              close            nobody inside, on no list
//!  Free ---------> Open -----------> Closed ---------------------------> Free
//! ```

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kexec::nt::{SpinLock, Vec};
use kexec::sync::{SetOnce, WakerSlot};
use kexec::{Result, Status};

use super::abi::TAG;

const FIRST_SLOTS: usize = 64;
const SLOT_PAGES: usize = 12;
const FIRST_PORTS: usize = 1024;
const PORT_PAGES: usize = 8;

/// Page and place in it of an index, when page n holds `first << n` entries.
fn place(index: usize, first: usize) -> (usize, usize) {
    let page = (index / first + 1).ilog2() as usize;
    (page, index - first * ((1 << page) - 1))
}

/// No slot, in lists and in the port table plus one.
pub const NONE: u32 = u32::MAX;

const FREE: u32 = 0;
const OPEN: u32 = 1;
const CLOSED: u32 = 2;

/// One channel.
#[derive(Debug)]
pub struct Slot {
    state: AtomicU32,
    inside: AtomicU32,
    /// Local port.
    pub port: AtomicU32,
    /// The processor it is delivered to.
    pub cpu: AtomicU32,
    /// The domain's life that the port belongs to.
    pub epoch: AtomicU32,
    /// Mask the port before each delivery.
    pub auto_mask: AtomicBool,
    /// Deliveries since it was opened.
    pub count: AtomicU32,
    /// On a processor's list of local events.
    pub triggered: AtomicBool,
    /// Next in that list, or in the list of free slots.
    pub next: AtomicU32,
    /// Legacy service routine, 0 for none.
    pub routine: AtomicUsize,
    /// Its argument.
    pub context: AtomicUsize,
    /// The future that waits.
    pub waker: WakerSlot,
}

impl Slot {
    fn new(next: u32) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            inside: AtomicU32::new(0),
            port: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            auto_mask: AtomicBool::new(false),
            count: AtomicU32::new(0),
            triggered: AtomicBool::new(false),
            next: AtomicU32::new(next),
            routine: AtomicUsize::new(0),
            context: AtomicUsize::new(0),
            waker: WakerSlot::new(),
        }
    }

    /// Announces an interrupt in the slot; false when there is no open channel in it.
    pub fn enter(&self) -> bool {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let open = self.state.load(Ordering::SeqCst) == OPEN;
        if !open {
            self.leave();
        }
        open
    }

    /// The interrupt is done with the slot.
    pub fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether an interrupt is in the slot.
    pub fn is_busy(&self) -> bool {
        self.inside.load(Ordering::SeqCst) != 0
    }

    /// Makes the channel visible to interrupts.
    pub fn open(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }

    /// No interrupt enters from here on.
    pub fn close(&self) {
        self.state.store(CLOSED, Ordering::SeqCst);
    }

    /// Makes a closed slot free; true for exactly one caller, who gives it back.
    fn retire(&self) -> bool {
        self.state
            .compare_exchange(CLOSED, FREE, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

struct Free {
    head: u32,
    pages: usize,
}

/// All slots, and the map from ports to them.
pub struct Slots {
    pages: [SetOnce<Vec<Slot>>; SLOT_PAGES],
    ports: [SetOnce<Vec<AtomicU32>>; PORT_PAGES],
    free: SpinLock<Free>,
    /// Slots in use; changed under the lock.
    live: AtomicUsize,
}

impl Slots {
    /// No slots yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pages: [const { SetOnce::new() }; SLOT_PAGES],
            ports: [const { SetOnce::new() }; PORT_PAGES],
            free: SpinLock::new(Free {
                head: NONE,
                pages: 0,
            }),
            live: AtomicUsize::new(0),
        }
    }

    /// A slot by number. Any IRQL.
    pub fn get(&self, slot: u32) -> Option<&Slot> {
        let (page, at) = place(slot as usize, FIRST_SLOTS);
        self.pages.get(page)?.get()?.get(at)
    }

    /// The slot of a port. Any IRQL.
    pub fn of_port(&self, port: u32) -> Option<&Slot> {
        let entry = self.port_entry(port)?.load(Ordering::Acquire);
        self.get(entry.checked_sub(1)?)
    }

    fn port_entry(&self, port: u32) -> Option<&AtomicU32> {
        let (page, at) = place(port as usize, FIRST_PORTS);
        self.ports.get(page)?.get()?.get(at)
    }

    /// Maps a port to a slot.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a port beyond any ABI, `DUPLICATE_OBJECTID` for one that has a slot, `NO_MEMORY`.
    pub fn map(&self, port: u32, slot: u32) -> Result {
        let number = place(port as usize, FIRST_PORTS).0;
        let page = self.ports.get(number).ok_or(Status::INVALID_PARAMETER)?;
        {
            // Under the lock, so that a page is made once.
            let _free = self.free.lock();
            fill(page, FIRST_PORTS << number, |_| AtomicU32::new(0))?;
        }
        let entry = self.port_entry(port).ok_or(Status::INTERNAL_ERROR)?;
        entry
            .compare_exchange(0, slot + 1, Ordering::Release, Ordering::Relaxed)
            .map_err(|_| Status::DUPLICATE_OBJECTID)?;
        Ok(())
    }

    /// Forgets a port.
    pub fn unmap(&self, port: u32) {
        if let Some(entry) = self.port_entry(port) {
            entry.store(0, Ordering::SeqCst);
        }
    }

    /// Takes a free slot.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn take(&self) -> Result<u32> {
        let mut free = self.free.lock();
        if free.head == NONE {
            let page = self.pages.get(free.pages).ok_or(Status::NO_MEMORY)?;
            let len = FIRST_SLOTS << free.pages;
            let base = to_u32(len - FIRST_SLOTS);
            fill(page, len, |i| {
                let last = i + 1 == len;
                Slot::new(if last { NONE } else { base + to_u32(i) + 1 })
            })?;
            free.pages += 1;
            free.head = base;
        }
        let slot = free.head;
        let entry = self.get(slot).ok_or(Status::INTERNAL_ERROR)?;
        free.head = entry.next.load(Ordering::Relaxed);
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(slot)
    }

    /// Gives a closed slot back that no interrupt is in and no list has; once, whoever asks.
    pub fn give(&self, slot: u32) {
        let Some(entry) = self.get(slot) else {
            return;
        };
        if entry.retire() {
            self.put_back(slot, entry);
        }
    }

    /// Takes a closed slot to give it back later, from where no lock may be taken: chains it before `chain`, which is the number
    /// behind it plus one. Any IRQL.
    pub fn retire(&self, slot: u32, chain: &mut u32) {
        if let Some(entry) = self.get(slot)
            && entry.retire()
        {
            entry.next.store(*chain, Ordering::Relaxed);
            *chain = slot.wrapping_add(1);
        }
    }

    /// Gives back what [`Self::retire`] chained.
    pub fn give_chain(&self, mut chain: u32) {
        while let Some(slot) = chain.checked_sub(1) {
            let Some(entry) = self.get(slot) else {
                return;
            };
            chain = entry.next.load(Ordering::Relaxed);
            self.put_back(slot, entry);
        }
    }

    /// By whoever retired it.
    fn put_back(&self, slot: u32, entry: &Slot) {
        drop(entry.waker.take());
        entry.count.store(0, Ordering::Relaxed);
        let mut free = self.free.lock();
        entry.next.store(free.head, Ordering::Relaxed);
        free.head = slot;
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls `f` with every open slot and its number.
    pub fn each_open(&self, mut f: impl FnMut(u32, &Slot)) {
        let slots = self.pages.iter().map_while(SetOnce::get).flatten();
        for (number, slot) in (0..).zip(slots) {
            if slot.state.load(Ordering::SeqCst) == OPEN {
                f(number, slot);
            }
        }
    }

    /// Slots in use. Any IRQL: a debug callback asks.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}

/// Makes a page of `len` entries unless it is there. By the holder of the lock only.
fn fill<T>(page: &SetOnce<Vec<T>>, len: usize, make: impl Fn(usize) -> T) -> Result {
    if page.get().is_some() {
        return Ok(());
    }
    let mut entries = Vec::new(TAG);
    entries.try_reserve(len)?;
    for i in 0..len {
        entries.try_push(make(i))?;
    }
    let placed = page.set(entries).is_ok();
    debug_assert!(placed, "two makers of one page");
    Ok(())
}
