// SPDX-License-Identifier: BSD-2-Clause
//! [`Timers`]: sleep, deadline, timeout and interval over one KTIMER, without allocation.
//!
//! A list of pinned nodes, soonest first, under a spin lock; each node lives in its [`Sleep`]. Inserting is linear in the number
//! of timers set (a bus driver has a handful), cancelling is constant. Wakers are called with the lock released. The list stops
//! by `Timers::stop`, after which nothing fires.
#![expect(unsafe_code, reason = "an intrusive list of pinned nodes")]

use core::cell::UnsafeCell;
use core::fmt;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr::{NonNull, null_mut};
use core::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::nt::sys::PVOID;
use crate::nt::{RawTimerDpc, SpinLock, sys};
use crate::{Duration, Instant, Passive, Status};

struct Node {
    deadline: Instant,
    prev: *mut Node,
    next: *mut Node,
    waker: Option<Waker>,
    queued: bool,
}

struct List {
    first: *mut Node,
    /// What the KTIMER is set to.
    armed: Instant,
    stopped: bool,
}

// SAFETY: nodes are reached only under the lock that owns this value.
unsafe impl Send for List {}

/// The timers of one executor.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct Timers {
    list: SpinLock<List>,
    alarm: RawTimerDpc,
}

unsafe extern "C" fn fired(_dpc: *mut sys::KDPC, context: PVOID, _arg1: PVOID, _arg2: PVOID) {
    // SAFETY: the context is a live `Timers` until `stop` has flushed this DPC.
    let timers = unsafe { &*context.cast::<Timers>() };
    timers.expire_due(true);
}

impl Timers {
    pub(crate) const fn uninit() -> Self {
        let list = List {
            first: null_mut(),
            armed: Instant::NEVER,
            stopped: false,
        };
        Self {
            list: SpinLock::new(list),
            alarm: RawTimerDpc::uninit(),
        }
    }

    /// # Safety
    /// The value does not move from here on, and [`Self::stop`] is called before it goes.
    pub(crate) unsafe fn init(&self) {
        // SAFETY: by contract.
        unsafe {
            self.alarm
                .init(fired, core::ptr::from_ref(self).cast_mut().cast())
        };
    }

    /// Wakes every sleeper whose time has come and sets the KTIMER for the next. Called by the KTIMER's DPC, and by inline drives.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn expire(&self) {
        self.expire_due(false);
    }

    /// `fired`: the KTIMER has gone off and is not set any more, even when interrupt time says that it is too early.
    fn expire_due(&self, fired: bool) {
        let now = Instant::now();
        loop {
            let mut list = self.list.lock();
            let Some(first) = NonNull::new(list.first) else {
                list.armed = Instant::NEVER;
                return;
            };
            // SAFETY: queued nodes are alive, and reached under the lock only.
            let node = unsafe { &mut *first.as_ptr() };
            if node.deadline > now {
                let spent = fired || list.armed <= now;
                self.arm(&mut list, now, spent);
                return;
            }
            unlink(&mut list, node);
            let waker = node.waker.take();
            drop(list);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Sets the KTIMER to the first deadline. Needless while it is set to an earlier point; then its DPC does it. `spent`: it is not set.
    fn arm(&self, list: &mut List, now: Instant, spent: bool) {
        let Some(first) = NonNull::new(list.first) else {
            return;
        };
        // SAFETY: queued nodes are alive, and reached under the lock only.
        let deadline = unsafe { (*first.as_ptr()).deadline };
        if !list.stopped && deadline != Instant::NEVER && (spent || deadline < list.armed) {
            list.armed = deadline;
            self.alarm.set(deadline.since(now), 0);
        }
    }

    /// The soonest deadline.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn next_deadline(&self) -> Option<Instant> {
        let list = self.list.lock();
        // SAFETY: queued nodes are alive, and reached under the lock only.
        NonNull::new(list.first).map(|first| unsafe { (*first.as_ptr()).deadline })
    }

    /// Waits until `deadline`. Cancel-safe.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep<'_> {
        let node = Node {
            deadline,
            prev: null_mut(),
            next: null_mut(),
            waker: None,
            queued: false,
        };
        Sleep {
            timers: self,
            node: UnsafeCell::new(node),
            deadline,
            _pinned: PhantomPinned,
        }
    }

    /// Waits for `span`. Cancel-safe.
    pub fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.sleep_until(Instant::now() + span)
    }

    /// Waits for `future`, at most for `span`. As cancel-safe as `future`, which is dropped with the wait.
    pub fn timeout<F: Future>(&self, span: Duration, future: F) -> Timeout<'_, F> {
        Timeout {
            future,
            sleep: self.sleep(span),
        }
    }

    /// Ticks every `period`, the first time one period from now.
    pub fn interval(&self, period: Duration) -> Interval<'_> {
        Interval {
            timers: self,
            next: Instant::now() + period,
            period,
        }
    }

    /// Unsets the KTIMER for good and waits for its DPC.
    pub(crate) fn stop(&self, level: Passive) {
        self.list.lock().stopped = true;
        self.alarm.stop(level);
    }
}

fn unlink(list: &mut List, node: &mut Node) {
    match NonNull::new(node.prev) {
        // SAFETY: neighbours of a queued node are queued, alive, and reached under the lock only.
        Some(prev) => unsafe { (*prev.as_ptr()).next = node.next },
        None => list.first = node.next,
    }
    if let Some(next) = NonNull::new(node.next) {
        // SAFETY: as above.
        unsafe { (*next.as_ptr()).prev = node.prev };
    }
    node.queued = false;
    node.prev = null_mut();
    node.next = null_mut();
}

/// # Safety
/// `node` stays where it is until unlinked, and is reached under the lock only.
unsafe fn insert(list: &mut List, node: *mut Node) {
    // SAFETY: alive by contract.
    let fresh = unsafe { &mut *node };
    let mut prev: *mut Node = null_mut();
    let mut next = list.first;
    while let Some(other) = NonNull::new(next) {
        // SAFETY: queued nodes are alive; a distinct node from `fresh`, which is not queued.
        let other = unsafe { &*other.as_ptr() };
        if other.deadline > fresh.deadline {
            break;
        }
        prev = next;
        next = other.next;
    }
    fresh.prev = prev;
    fresh.next = next;
    fresh.queued = true;
    match NonNull::new(prev) {
        // SAFETY: queued, alive, distinct.
        Some(prev) => unsafe { (*prev.as_ptr()).next = node },
        None => list.first = node,
    }
    if let Some(next) = NonNull::new(next) {
        // SAFETY: queued, alive, distinct.
        unsafe { (*next.as_ptr()).prev = node };
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timers")
    }
}

/// Future of [`Timers::sleep`] and [`Timers::sleep_until`]. Works with any waker. Cancel-safe.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep<'a> {
    timers: &'a Timers,
    node: UnsafeCell<Node>,
    deadline: Instant,
    _pinned: PhantomPinned,
}

// SAFETY: the node is reached under the timers' lock only.
unsafe impl Send for Sleep<'_> {}
// SAFETY: as above; `&Sleep` gives access to nothing.
unsafe impl Sync for Sleep<'_> {}

impl Future for Sleep<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.into_ref().get_ref();
        let now = Instant::now();
        let mut list = this.timers.list.lock();
        // SAFETY: under the lock.
        let node = unsafe { &mut *this.node.get() };
        if now >= this.deadline {
            if node.queued {
                unlink(&mut list, node);
            }
            let old = node.waker.take();
            drop(list);
            drop(old);
            return Poll::Ready(());
        }
        if node
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
            && node.queued
        {
            return Poll::Pending;
        }
        let old = node.waker.replace(context.waker().clone());
        if !node.queued {
            // SAFETY: pinned until drop, which unlinks it.
            unsafe { insert(&mut list, this.node.get()) };
            this.timers.arm(&mut list, now, false);
        }
        drop(list);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        let mut list = self.timers.list.lock();
        // SAFETY: under the lock.
        let node = unsafe { &mut *self.node.get() };
        if node.queued {
            unlink(&mut list, node);
        }
    }
}

impl fmt::Debug for Sleep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep({:?})", self.deadline)
    }
}

/// The time was up first.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl From<Elapsed> for Status {
    fn from(_: Elapsed) -> Self {
        Self::IO_TIMEOUT
    }
}

pin_project! {
    /// Future of [`Timers::timeout`]: the inner output, or [`Elapsed`]. The inner future is polled first.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use = "futures do nothing unless awaited"]
    #[derive(Debug)]
    pub struct Timeout<'a, F> {
        #[pin]
        future: F,
        #[pin]
        sleep: Sleep<'a>,
    }
}

impl<F: Future> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.poll(context).map(|()| Err(Elapsed))
    }
}

/// A periodic tick; see [`Timers::interval`].
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct Interval<'a> {
    timers: &'a Timers,
    next: Instant,
    period: Duration,
}

impl Interval<'_> {
    /// Waits for the next tick. Ticks missed by more than a period are skipped. Cancel-safe.
    pub async fn tick(&mut self) {
        self.timers.sleep_until(self.next).await;
        let now = Instant::now();
        self.next += self.period;
        if self.next <= now {
            self.next = now + self.period;
        }
    }
}
