// SPDX-License-Identifier: BSD-2-Clause
//! Callbacks that drivers registered, in the order in which they did.
//!
//! The list is behind a lock, which EARLY callbacks cannot take at HIGH_LEVEL: what they need is copied when all processors have
//! been captured, into places made before. LATE ones are found one by one, so that a callback that removes another does no harm.

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::nt::{SpinLock, Tag, Vec};
use kexec::{Result, Status};

use crate::status;

pub(super) const TAG: Tag = Tag(*b"XBsu");

/// When a callback is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At HIGH_LEVEL, interrupts off.
    Early,
    /// At DISPATCH_LEVEL.
    Late,
}

/// Function and argument, which mean something to the C edge.
pub type Call = (usize, usize);

#[derive(Clone, Copy)]
struct Entry {
    id: usize,
    phase: Phase,
    call: Call,
}

struct List {
    entries: Vec<Entry>,
    last: usize,
}

/// The callbacks registered.
pub struct Callbacks {
    list: SpinLock<List>,
}

impl Callbacks {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: SpinLock::new(List {
                entries: Vec::new(TAG),
                last: 0,
            }),
        }
    }

    /// Adds a callback behind the others; its id, which is not 0.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn register(&self, phase: Phase, call: Call) -> Result<usize> {
        let mut list = self.list.lock();
        let id = list.last + 1;
        let entry = Entry { id, phase, call };
        list.entries.try_push(entry).map_err(status::no_memory)?;
        list.last = id;
        Ok(id)
    }

    /// Removes a callback: it does not run once this returns, because no callback runs beside anything else. False: no such one.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn deregister(&self, id: usize) -> bool {
        let mut list = self.list.lock();
        let at = list.entries.iter().position(|entry| entry.id == id);
        if let Some(at) = at {
            list.entries.remove(at);
        }
        at.is_some()
    }

    /// How many are registered.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.lock().entries.len()
    }

    /// The first callback of `phase` behind the one with this id.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub(super) fn next(&self, phase: Phase, behind: usize) -> Option<(usize, Call)> {
        let list = self.list.lock();
        list.entries
            .iter()
            .find(|entry| entry.id > behind && entry.phase == phase)
            .map(|entry| (entry.id, entry.call))
    }
}

impl Default for Callbacks {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy of the EARLY callbacks that is read without a lock.
pub(super) struct Snapshot {
    places: Vec<[AtomicUsize; 2]>,
    used: AtomicUsize,
}

impl Snapshot {
    /// Room for what is registered now and a few more.
    pub(super) fn try_new(callbacks: &Callbacks) -> Result<Self> {
        let mut places = Vec::new(TAG);
        let room = callbacks.count() + 16;
        places.try_reserve(room)?;
        for _ in 0..room {
            places.try_push([AtomicUsize::new(0), AtomicUsize::new(0)])?;
        }
        Ok(Self {
            places,
            used: AtomicUsize::new(0),
        })
    }

    /// Copies; `RETRY` when more were registered since than there is room for.
    pub(super) fn fill(&self, callbacks: &Callbacks) -> Result {
        let list = callbacks.list.lock();
        let early = list.entries.iter().filter(|e| e.phase == Phase::Early);
        let mut used = 0;
        for entry in early {
            let place = self.places.get(used).ok_or(Status::RETRY)?;
            place[0].store(entry.call.0, Ordering::Relaxed);
            place[1].store(entry.call.1, Ordering::Relaxed);
            used += 1;
        }
        self.used.store(used, Ordering::Release);
        Ok(())
    }

    /// What was copied. Any IRQL.
    pub(super) fn calls(&self) -> impl Iterator<Item = Call> + '_ {
        let used = self.used.load(Ordering::Acquire);
        self.places.iter().take(used).map(|place| {
            (
                place[0].load(Ordering::Relaxed),
                place[1].load(Ordering::Relaxed),
            )
        })
    }
}
