// SPDX-License-Identifier: BSD-2-Clause
//! The FIFO ABI: one word per port in an array of pages, one queue per priority and vCPU.
//!
//! ```text
//! word: 31 PENDING | 30 MASKED | 29 LINKED | 28 BUSY | 16:0 next port in the queue
//! ```
//! Array pages are appended and never move or go away before a reset; words are only changed by
//! locked operations; links are checked against the array before they are followed. Any IRQL; the
//! poll of one processor never runs twice at a time.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use kexec::nt::{SpinLock, Vec};
use kexec::sync::SetOnce;
use kexec::{Result, Status};

use super::abi::TAG;
use super::host::{EventPage, Hypervisor, Machine, WORDS};

/// Ports of this ABI.
pub const PORTS: u32 = 128 * 1024;
const PAGES: usize = 128;
const QUEUES: usize = 16;

pub(super) const PENDING: u32 = 1 << 31;
pub(super) const MASKED: u32 = 1 << 30;
pub(super) const LINKED: u32 = 1 << 29;
pub(super) const BUSY: u32 = 1 << 28;
pub(super) const LINK: u32 = (1 << 17) - 1;

/// Tries to unmask while the hypervisor holds BUSY, before the hypercall does it.
const UNMASK_TRIES: usize = 64;

/// The event array.
pub struct Array<P> {
    pages: Vec<SetOnce<P>>,
    /// Pages that the hypervisor knows; held while one is added. Those behind are kept for another time.
    count: SpinLock<usize>,
    /// A later host had no FIFO.
    given_up: AtomicBool,
}

/// What a processor's poll remembers.
pub struct PollState<P> {
    control: P,
    ready: AtomicU32,
    heads: [AtomicU32; QUEUES],
}

impl<P: EventPage> PollState<P> {
    /// State over a control block that the hypervisor has accepted.
    pub fn new(control: P) -> Self {
        Self {
            control,
            ready: AtomicU32::new(0),
            heads: [const { AtomicU32::new(0) }; QUEUES],
        }
    }

    /// The control block's frame.
    pub(super) fn gfn(&self) -> u64 {
        self.control.gfn()
    }

    /// As new: the queues were those of another domain.
    pub(super) fn renew(&self) {
        self.ready.store(0, Ordering::Relaxed);
        for head in &self.heads {
            head.store(0, Ordering::Relaxed);
        }
        for word in self.control.words() {
            word.store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Queues that the hypervisor has marked since.
    fn take_ready(&self) -> u32 {
        self.control.words()[0].swap(0, Ordering::SeqCst)
    }

    fn head(&self, queue: usize) -> &AtomicU32 {
        // ready, reserved, then one head per queue.
        &self.control.words()[2 + queue]
    }
}

impl<P: EventPage> Array<P> {
    /// An array without pages.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn try_new() -> Result<Self> {
        let mut pages = Vec::new(TAG);
        pages.try_reserve(PAGES)?;
        for _ in 0..PAGES {
            pages.try_push(SetOnce::new())?;
        }
        Ok(Self {
            pages,
            count: SpinLock::new(0),
            given_up: AtomicBool::new(false),
        })
    }

    /// Whether ports are this ABI's.
    pub(super) fn is_used(&self) -> bool {
        !self.given_up.load(Ordering::Acquire)
    }

    /// From now on they are not.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// As new, with the pages of before.
    pub(super) fn renew(&self) {
        *self.count.lock() = 0;
    }

    fn word(&self, port: u32) -> Option<&AtomicU32> {
        let page = self.pages.get(port as usize / WORDS)?.get()?;
        page.words().get(port as usize % WORDS)
    }

    /// Appends pages until `port` has a word.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a port beyond the ABI, `NO_MEMORY`, or the hypercall's.
    pub fn reach<H>(&self, host: &H, port: u32) -> Result
    where
        H: Hypervisor + Machine<Page = P>,
    {
        let wanted = port as usize / WORDS + 1;
        if wanted > PAGES {
            return Err(Status::INVALID_PARAMETER);
        }
        let mut count = self.count.lock();
        while *count < wanted {
            let slot = &self.pages[*count];
            // There already when the hypervisor refused it before, or since before a resume.
            let page = match slot.get() {
                Some(page) => page,
                // Published first: the hypervisor may link ports of this page at once.
                None => slot
                    .set(host.alloc_page()?)
                    .map_err(|_| Status::INTERNAL_ERROR)?,
            };
            for word in page.words() {
                word.store(MASKED, Ordering::Relaxed);
            }
            host.expand_array(page.gfn())?;
            *count += 1;
        }
        Ok(())
    }

    /// Masks a port.
    pub fn mask(&self, port: u32) {
        if let Some(word) = self.word(port) {
            word.fetch_or(MASKED, Ordering::SeqCst);
        }
    }

    /// Whether a port is masked.
    pub fn is_masked(&self, port: u32) -> bool {
        self.word(port)
            .is_some_and(|word| word.load(Ordering::Acquire) & MASKED != 0)
    }

    /// Whether a port is still in a queue, so that its number is not free yet.
    pub fn is_linked(&self, port: u32) -> bool {
        self.word(port)
            .is_some_and(|word| word.load(Ordering::Acquire) & LINKED != 0)
    }

    /// Unmasks a port; true when an event was pending, which is in no queue.
    ///
    /// Also true when the hypervisor held the word for long: the caller then masks the port again and
    /// lets the hypervisor unmask it, which is right in either case.
    pub fn unmask(&self, port: u32) -> bool {
        let Some(word) = self.word(port) else {
            return false;
        };
        let mut old = word.load(Ordering::Acquire);
        for _ in 0..UNMASK_TRIES {
            let expected = old & !BUSY;
            match word.compare_exchange(
                expected,
                expected & !MASKED,
                Ordering::SeqCst,
                Ordering::Acquire,
            ) {
                Ok(_) => return word.load(Ordering::SeqCst) & PENDING != 0,
                Err(now) => old = now,
            }
        }
        true
    }

    /// Takes the pending bit of a port.
    pub fn ack(&self, port: u32) {
        if let Some(word) = self.word(port) {
            word.fetch_and(!PENDING, Ordering::SeqCst);
        }
    }

    /// Takes a port out of its queue: the word as it was.
    fn unlink(&self, port: u32) -> Option<u32> {
        let word = self.word(port)?;
        word.fetch_update(Ordering::SeqCst, Ordering::Acquire, |old| {
            Some(old & !(LINKED | LINK))
        })
        .ok()
    }

    /// Visits pending ports, highest priority first, until there are none or `budget` is used up;
    /// true: there may be more.
    pub fn poll(
        &self,
        state: &PollState<P>,
        budget: &mut usize,
        mut visit: impl FnMut(u32),
    ) -> bool {
        let mut ready = state.ready.swap(0, Ordering::Relaxed) | state.take_ready();
        while ready != 0 {
            if *budget == 0 {
                state.ready.fetch_or(ready, Ordering::Relaxed);
                return true;
            }
            *budget -= 1;
            let queue = (ready.trailing_zeros() as usize) % QUEUES;
            let mut head = state.heads[queue].load(Ordering::Relaxed);
            if head == 0 {
                fence(Ordering::SeqCst);
                head = state.head(queue).load(Ordering::Acquire);
            }
            // Port 0 is never valid, and a word beyond the array is not followed.
            let old = if head == 0 { None } else { self.unlink(head) };
            let next = old.map_or(0, |old| old & LINK);
            if next == 0 {
                ready &= !(1 << queue);
            }
            state.heads[queue].store(next, Ordering::Relaxed);
            if old.is_some_and(|old| old & PENDING != 0 && old & MASKED == 0) {
                visit(head);
            }
            ready |= state.take_ready();
        }
        false
    }

    #[cfg(test)]
    pub(super) fn set_for_test(&self, port: u32, value: u32) {
        if let Some(word) = self.word(port) {
            word.store(value, Ordering::SeqCst);
        }
    }
}
