// SPDX-License-Identifier: BSD-2-Clause
//! Event channels over [`EvtchnV9`].
//!
//! A channel's callback counts and wakes, so it may run at its device IRQL. The published `close`
//! returns while a callback may still be finishing on another processor; a channel's block is
//! therefore kept by its [`Events`] and freed by that one's end, after all processors have left
//! their interrupts.

use core::ffi::c_void;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::task::{Context, Poll};

use kexec::irql::Raised;
use kexec::nt::{Arc, Tag, flush_dpcs};
use kexec::sync::Notify;
use kexec::{Passive, Result, Status};

use super::reference::Reference;
use crate::evtchn::{Channel, EvtchnV9, TYPE_FIXED, TYPE_INTER_DOMAIN, TYPE_UNBOUND, TYPE_VIRQ};
use crate::interface::Interface;

/// What the callback fills.
struct Cell {
    /// Deliveries.
    count: AtomicU32,
    notify: Notify,
    /// The next block that waits to be freed.
    next: AtomicPtr<Cell>,
}

/// A reference to the bus driver's event channels.
///
/// # Invariants
/// `closed` is a list of blocks that only this structure has, linked by `next`.
pub(crate) struct Events {
    reference: Reference<EvtchnV9>,
    tag: Tag,
    closed: AtomicPtr<Cell>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A remote end to open a channel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    /// Any port of this domain may bind.
    Unbound(u16),
    /// This port of this domain.
    Port(u16, u32),
    /// None: a local port that exists already.
    Fixed(u32),
    /// The hypervisor: a virtual interrupt of a processor, by group and number.
    Virq(u32, u16, u8),
}

impl Events {
    /// Takes a reference.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is
    /// held.
    pub(crate) unsafe fn acquire(table: EvtchnV9, tag: Tag) -> Result<Self> {
        Ok(Self {
            // SAFETY: passed on.
            reference: unsafe { Reference::acquire(table)? },
            tag,
            closed: AtomicPtr::default(),
        })
    }

    fn table(&self) -> &EvtchnV9 {
        self.reference.table()
    }

    fn this(&self) -> *mut Interface {
        self.reference.this()
    }

    /// Opens a channel, masked until the first unmask.
    pub(crate) fn open(&self, remote: Remote, mask: bool) -> Result<Open<'_>> {
        let cell = Cell {
            count: AtomicU32::new(0),
            notify: Notify::new(),
            next: AtomicPtr::default(),
        };
        let cell = Arc::try_new(self.tag, cell)?;
        let context = ptr::from_ref(&*cell).cast_mut();
        let mask = u64::from(mask);
        let (kind, slots) = match remote {
            Remote::Unbound(domain) => (TYPE_UNBOUND, [u64::from(domain), mask, 0]),
            Remote::Port(domain, port) => {
                let slots = [u64::from(domain), u64::from(port), mask];
                (TYPE_INTER_DOMAIN, slots)
            }
            Remote::Fixed(port) => (TYPE_FIXED, [u64::from(port), mask, 0]),
            // Never masked by delivery: there is no argument for it.
            Remote::Virq(index, group, number) => {
                let slots = [u64::from(index), u64::from(group), u64::from(number)];
                (TYPE_VIRQ, slots)
            }
        };
        let [slot0, slot1, slot2] = slots;
        // SAFETY: a reference is held; the context is a pool block that is freed only after the
        // channel is closed and every processor has left its interrupts.
        let channel = unsafe {
            (self.table().open)(
                self.this(),
                kind,
                Some(delivered),
                context.cast(),
                slot0,
                slot1,
                slot2,
            )
        };
        let channel = NonNull::new(channel).ok_or(Status::UNSUCCESSFUL)?;
        Ok(Open {
            events: self,
            channel,
            cell: ManuallyDrop::new(cell),
        })
    }

    /// Puts a closed channel's block on the list.
    fn bury(&self, cell: Arc<Cell>) {
        let cell = Arc::into_raw(cell).cast_mut();
        // SAFETY: the only reference, given up just now; taken back in `drop`.
        let next = unsafe { &(*cell).next };
        let mut head = self.closed.load(Ordering::Relaxed);
        loop {
            next.store(head, Ordering::Relaxed);
            let order = (Ordering::Release, Ordering::Relaxed);
            match self
                .closed
                .compare_exchange_weak(head, cell, order.0, order.1)
            {
                Ok(_) => return,
                Err(current) => head = current,
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut next = *self.closed.get_mut();
        if next.is_null() {
            return;
        }
        let Some(passive) = Passive::here() else {
            // Freeing now could free under a running callback.
            kexec::error!("evtchn: released above PASSIVE_LEVEL, blocks of closed channels leak");
            return;
        };
        // It returns after every processor was below DISPATCH_LEVEL, so callbacks that began before a
        // channel was closed have returned.
        flush_dpcs(passive);
        while !next.is_null() {
            // SAFETY: given up once by `bury`, and off the list.
            let cell = unsafe { Arc::from_raw(next.cast_const()) };
            next = cell.next.load(Ordering::Relaxed);
        }
    }
}

/// An open channel.
///
/// # Invariants
/// `channel` is live and `cell` is its callback's argument.
pub(crate) struct Open<'a> {
    events: &'a Events,
    channel: NonNull<Channel>,
    cell: ManuallyDrop<Arc<Cell>>,
}

// SAFETY: the channel's methods may be called on any processor; the cell is made of atomics.
unsafe impl Send for Open<'_> {}
// SAFETY: as above.
unsafe impl Sync for Open<'_> {}

impl fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("count", &self.count())
            .finish()
    }
}

impl Open<'_> {
    /// The local port.
    pub(crate) fn port(&self) -> u32 {
        let events = self.events;
        // SAFETY: a reference is held and the channel is open.
        unsafe { (events.table().get_port)(events.this(), self.channel.as_ptr()) }
    }

    /// Deliveries so far.
    pub(crate) fn count(&self) -> u32 {
        self.cell.count.load(Ordering::Acquire)
    }

    /// Sends an event to the other end.
    pub(crate) fn send(&self) {
        let events = self.events;
        let _dispatch = Raised::to_dispatch();
        // SAFETY: a reference is held, the channel is open, and the level is DISPATCH_LEVEL.
        unsafe { (events.table().send)(events.this(), self.channel.as_ptr()) };
    }

    /// Unmasks; an event that is pending is raised again.
    pub(crate) fn unmask(&self) {
        let events = self.events;
        // SAFETY: a reference is held, the channel is open, the level is at most DISPATCH_LEVEL.
        unsafe { (events.table().unmask)(events.this(), self.channel.as_ptr(), 0, 1) };
    }

    /// Unmasks unless an event is pending, which is then the caller's: true.
    pub(crate) fn try_unmask(&self) -> bool {
        let events = self.events;
        // SAFETY: a reference is held, the channel is open, the level is at most DISPATCH_LEVEL.
        let pending =
            unsafe { (events.table().unmask)(events.this(), self.channel.as_ptr(), 0, 0) };
        pending != 0
    }

    /// Delivers a local event.
    pub(crate) fn trigger(&self) {
        let events = self.events;
        // SAFETY: a reference is held, the channel is open, the level is at most DISPATCH_LEVEL.
        unsafe { (events.table().trigger)(events.this(), self.channel.as_ptr()) };
    }

    /// Binds to a processor by group and number in the group.
    pub(crate) fn bind(&self, group: u16, number: u8) -> Result {
        let events = self.events;
        // SAFETY: a reference is held and the channel is open.
        let status =
            unsafe { (events.table().bind)(events.this(), self.channel.as_ptr(), group, number) };
        Status::check(status)
    }

    /// Waits until the number of deliveries is not `seen`; the number.
    pub(crate) async fn beyond(&self, seen: u32) -> u32 {
        self.cell
            .notify
            .wait_until(|cx| self.poll_beyond(seen, cx))
            .await
    }

    fn poll_beyond(&self, seen: u32, cx: &mut Context<'_>) -> Poll<u32> {
        loop {
            let count = self.count();
            if count != seen {
                return Poll::Ready(count);
            }
            // A permit of an event that was counted before is used up here.
            core::task::ready!(self.cell.notify.poll_notified(cx));
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let events = self.events;
        // SAFETY: a reference is held; the channel is closed once.
        unsafe { (events.table().close)(events.this(), self.channel.as_ptr()) };
        // SAFETY: taken once, in `drop`.
        let cell = unsafe { ManuallyDrop::take(&mut self.cell) };
        events.bury(cell);
    }
}

/// Counts a delivery and wakes the waiter. Called at the device IRQL of the vector.
///
/// # Safety
/// `argument` is the block of a channel that was not freed.
unsafe extern "C" fn delivered(_interrupt: *mut c_void, argument: *mut c_void) -> u8 {
    // SAFETY: by the contract.
    let cell = unsafe { &*argument.cast_const().cast::<Cell>() };
    cell.count.fetch_add(1, Ordering::AcqRel);
    cell.notify.notify();
    1
}
