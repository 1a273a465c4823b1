// SPDX-License-Identifier: BSD-2-Clause
//! [`Timers`]: sleep, deadline, timeout and interval over one KTIMER, without allocation.
//!
//! A heap of pinned entries under a spin lock; each entry lives in its [`Sleep`]. Setting and cancelling take at most as many
//! steps as the number of timers set has binary digits. Wakers are called with the lock released. The heap stops by `Timers::stop`,
//! after which nothing fires.
#![expect(unsafe_code, reason = "an intrusive heap of pinned entries")]

mod heap;

use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::nt::sys::PVOID;
use crate::nt::{RawTimerDpc, SpinLock, sys};
use crate::{Duration, Instant, Passive, Status};

use heap::Heap;

type Entry = heap::Entry<Cell<Option<Waker>>>;

struct Set {
    heap: Heap<Cell<Option<Waker>>>,
    /// What the KTIMER is set to.
    armed: Instant,
    stopped: bool,
}

// SAFETY: entries are reached only under the lock that owns this value.
unsafe impl Send for Set {}

/// The timers of one executor.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct Timers {
    set: SpinLock<Set>,
    alarm: RawTimerDpc,
}

unsafe extern "C" fn fired(_dpc: *mut sys::KDPC, context: PVOID, _arg1: PVOID, _arg2: PVOID) {
    // SAFETY: the context is a live `Timers` until `stop` has flushed this DPC.
    let timers = unsafe { &*context.cast::<Timers>() };
    timers.expire_due(true);
}

impl Timers {
    pub(crate) const fn uninit() -> Self {
        let set = Set {
            heap: Heap::new(),
            armed: Instant::NEVER,
            stopped: false,
        };
        Self {
            set: SpinLock::new(set),
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
            let mut set = self.set.lock();
            let Some(first) = set.heap.first() else {
                set.armed = Instant::NEVER;
                return;
            };
            if first.deadline() > now {
                let spent = fired || set.armed <= now;
                self.arm(&mut set, now, spent);
                return;
            }
            let waker = first.value.take();
            set.heap.remove_first();
            drop(set);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Sets the KTIMER to the first deadline. Needless while it is set to an earlier point; then its DPC does it. `spent`: it is not set.
    fn arm(&self, set: &mut Set, now: Instant, spent: bool) {
        let Some(deadline) = set.heap.first().map(Entry::deadline) else {
            return;
        };
        if !set.stopped && deadline != Instant::NEVER && (spent || deadline < set.armed) {
            if crate::nt::time::is_frozen() {
                // Whoever froze the machine looks at the heap by hand; the DPC sets the KTIMER afterwards.
                self.alarm.queue();
                return;
            }
            set.armed = deadline;
            self.alarm.set(deadline.since(now), 0);
        }
    }

    /// The soonest deadline.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.set.lock().heap.first().map(Entry::deadline)
    }

    /// Waits until `deadline`. Cancel-safe.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep<'_> {
        Sleep {
            timers: self,
            entry: Entry::new(Cell::new(None)),
            deadline,
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
        self.set.lock().stopped = true;
        self.alarm.stop(level);
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
    entry: Entry,
    deadline: Instant,
}

// SAFETY: the entry is reached under the timers' lock only.
unsafe impl Send for Sleep<'_> {}
// SAFETY: as above; `&Sleep` gives access to nothing.
unsafe impl Sync for Sleep<'_> {}

impl Future for Sleep<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.into_ref().get_ref();
        let now = Instant::now();
        let mut set = this.timers.set.lock();
        let old = this.entry.value.take();
        if now >= this.deadline {
            // SAFETY: in this heap or in none.
            unsafe { set.heap.remove(&this.entry) };
            drop(set);
            drop(old);
            return Poll::Ready(());
        }
        let (waker, old) = match old {
            Some(same) if same.will_wake(context.waker()) => (same, None),
            old => (context.waker().clone(), old),
        };
        this.entry.value.set(Some(waker));
        if !this.entry.is_queued() {
            // SAFETY: in no heap; pinned until it is dropped, which removes it.
            unsafe { set.heap.insert(NonNull::from(&this.entry), this.deadline) };
            this.timers.arm(&mut set, now, false);
        }
        drop(set);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        let mut set = self.timers.set.lock();
        // SAFETY: in this heap or in none.
        unsafe { set.heap.remove(&self.entry) };
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
