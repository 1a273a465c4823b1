// SPDX-License-Identifier: BSD-2-Clause
//! The table of watches: opaque tokens, and who is told that something changed.
//!
//! A watch is a dirty flag: fires coalesce, consumers read again. The table is a slab; a token names a
//! slot and its generation, so an event for a watch that is gone finds nothing. Registering and
//! removing happens under the table's lock, telling the owner outside it. `<= DISPATCH_LEVEL`.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kexec::nt::{Arc, Link, SpinLock, Vec};
use kexec::sync::WakerSlot;
use kexec::{Result, Status};

use super::chain::Linked;
use super::request::{Callback, Request, TAG};
use crate::status;

/// Who hears that a watch fired.
#[derive(Clone, Copy)]
pub enum Target {
    /// Nobody: the watch is gone.
    Gone,
    /// The future in the node's waker slot.
    Future,
    /// Set from the store task itself; may only signal, such as setting a KEVENT.
    Signal(Callback),
    /// Called outside any poll.
    Call(Callback),
}

/// What is left to do after a fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing.
    Done,
    /// The node must be delivered outside any poll.
    Deliver,
}

/// One watch.
pub struct Node {
    slot: u32,
    generation: u32,
    fires: AtomicU32,
    queued: AtomicBool,
    /// Told by a callback: known without `target`, which is locked for the time of the call, and the
    /// call may run the store task on the same processor.
    calls: bool,
    waker: WakerSlot,
    /// Held while the owner is told, so that removal waits for a call in progress.
    target: SpinLock<Target>,
    /// Why the daemon refused the watch, if it did.
    refused: SpinLock<Option<Status>>,
    /// The WATCH request: sent again after a reconnection, and in the end as UNWATCH.
    request: SpinLock<Option<Arc<Request>>>,
    /// The link of the chain of callbacks to make.
    next: Link<Node>,
}

impl Linked for Node {
    fn link(&self, _place: usize) -> &Link<Self> {
        &self.next
    }
}

impl Node {
    /// The token's slot and generation.
    #[must_use]
    pub fn token(&self) -> (u32, u32) {
        (self.slot, self.generation)
    }

    /// How often the watch fired, wrapping.
    #[must_use]
    pub fn fires(&self) -> u32 {
        self.fires.load(Ordering::Acquire)
    }

    /// The slot of the future that waits.
    pub fn waker(&self) -> &WakerSlot {
        &self.waker
    }

    /// Something changed.
    pub fn fire(&self) -> Fired {
        self.fires.fetch_add(1, Ordering::Release);
        if self.calls {
            return self.needs_delivery();
        }
        let target = self.target.lock();
        match &*target {
            Target::Gone | Target::Call(_) => Fired::Done,
            Target::Future => {
                drop(target);
                self.waker.wake();
                Fired::Done
            }
            Target::Signal(callback) => {
                (callback.call)(callback, Ok(&[]));
                Fired::Done
            }
        }
    }

    fn needs_delivery(&self) -> Fired {
        if self.queued.swap(true, Ordering::AcqRel) {
            Fired::Done
        } else {
            Fired::Deliver
        }
    }

    /// Makes the owner's callback; not from a poll.
    pub(super) fn deliver(&self) {
        self.queued.store(false, Ordering::Release);
        let target = self.target.lock();
        if let Target::Call(callback) = &*target {
            let refused = *self.refused.lock();
            (callback.call)(callback, refused.map_or(Ok(&[]), Err));
        }
    }

    /// The daemon refused the watch: it is dead, its owner is told once.
    pub fn refuse(&self, status: Status) -> Fired {
        *self.refused.lock() = Some(status);
        if !self.calls && matches!(*self.target.lock(), Target::Signal(_)) {
            return Fired::Done;
        }
        self.fire()
    }

    /// Why the watch is dead, if it is.
    #[must_use]
    pub fn refused(&self) -> Option<Status> {
        *self.refused.lock()
    }

    /// Nobody is told from here on; waits for a call in progress.
    pub fn silence(&self) {
        *self.target.lock() = Target::Gone;
    }

    pub(super) fn keep(&self, request: Arc<Request>) {
        *self.request.lock() = Some(request);
    }

    pub(super) fn take_kept(&self) -> Option<Arc<Request>> {
        self.request.lock().take()
    }

    pub(super) fn kept(&self) -> Option<Arc<Request>> {
        self.request.lock().clone()
    }
}

struct Entry {
    node: Option<Arc<Node>>,
    next_free: u32,
}

struct Table {
    entries: Vec<Entry>,
    free: u32,
    generation: u32,
}

const NO_SLOT: u32 = u32::MAX;

/// All watches of one connection.
pub struct Watches {
    table: SpinLock<Table>,
    /// Watches listed. Written under the table's lock.
    live: AtomicUsize,
}

impl Watches {
    /// An empty table; `seed` makes tokens of an earlier life of the driver stale.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self {
            table: SpinLock::new(Table {
                entries: Vec::new(TAG),
                free: NO_SLOT,
                generation: seed,
            }),
            live: AtomicUsize::new(0),
        }
    }

    /// Lists a new watch. It is listed before WATCH is sent, so that the first event finds it.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn add(&self, target: Target) -> Result<Arc<Node>> {
        let mut table = self.table.lock();
        if table.free == NO_SLOT {
            let slot = u32::try_from(table.entries.len()).map_err(|_| Status::NO_MEMORY)?;
            let entry = Entry {
                node: None,
                next_free: NO_SLOT,
            };
            table.entries.try_push(entry).map_err(status::no_memory)?;
            table.free = slot;
        }
        let slot = table.free;
        table.generation = table.generation.wrapping_add(1);
        let node = Arc::try_new(
            TAG,
            Node {
                slot,
                generation: table.generation,
                fires: AtomicU32::new(0),
                queued: AtomicBool::new(false),
                calls: matches!(target, Target::Call(_)),
                waker: WakerSlot::new(),
                target: SpinLock::new(target),
                refused: SpinLock::new(None),
                request: SpinLock::new(None),
                next: Link::new(),
            },
        )
        .map_err(status::no_memory)?;
        let Some(entry) = table.entries.get_mut(slot as usize) else {
            return Err(Status::INTERNAL_ERROR);
        };
        entry.node = Some(node.clone());
        let next_free = entry.next_free;
        table.free = next_free;
        self.live.fetch_add(1, Ordering::Release);
        Ok(node)
    }

    /// Unlists and silences a watch; false when it was not listed.
    pub fn remove(&self, node: &Node) -> bool {
        node.silence();
        let mut table = self.table.lock();
        let free = table.free;
        let taken = match table.entries.get_mut(node.slot as usize) {
            Some(entry)
                if entry
                    .node
                    .as_ref()
                    .is_some_and(|listed| listed.generation == node.generation) =>
            {
                entry.next_free = free;
                entry.node.take()
            }
            _ => None,
        };
        if taken.is_some() {
            table.free = node.slot;
            self.live.fetch_sub(1, Ordering::Release);
        }
        drop(table);
        taken.is_some()
    }

    /// The watch that a token names.
    pub fn find(&self, slot: u32, generation: u32) -> Option<Arc<Node>> {
        let table = self.table.lock();
        let node = table.entries.get(slot as usize)?.node.as_ref()?;
        (node.generation == generation).then(|| node.clone())
    }

    /// The first listed watch at or after `slot`: a walk that holds no lock between steps.
    pub fn next_from(&self, slot: u32) -> Option<Arc<Node>> {
        let table = self.table.lock();
        table
            .entries
            .get(slot as usize..)?
            .iter()
            .find_map(|entry| entry.node.clone())
    }

    /// Listed watches.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }
}
