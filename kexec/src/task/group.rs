// SPDX-License-Identifier: BSD-2-Clause
//! [`Group`]: the tasks of one device or service, stopped together: refuse, cancel, drain, prove zero.
#![expect(unsafe_code, reason = "names its executor by address")]

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::atomic::{AtomicBool, AtomicUsize, AtomicWaker, Ordering};
use crate::exec::CoreHead;

/// A set of tasks of one executor; made by the executor's `group`.
///
/// # IRQL
/// <= DISPATCH_LEVEL; [`Self::cancel`] any.
pub struct Group {
    name: &'static str,
    core: *const CoreHead,
    stopped: AtomicBool,
    tasks: AtomicUsize,
    drained: AtomicWaker,
}

// SAFETY: atomics, and an executor that outlives its groups' use (`# Safety` of `new`).
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Group {
    /// # Safety
    /// The executor is alive at every call of [`Self::cancel`] with tasks in the group.
    pub(crate) unsafe fn new(core: *const CoreHead, name: &'static str) -> Self {
        Self {
            name,
            core,
            stopped: AtomicBool::new(false),
            tasks: AtomicUsize::new(0),
            drained: AtomicWaker::new(),
        }
    }

    /// The name given when it was made.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Futures alive in the group.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tasks.load(Ordering::Acquire)
    }

    /// Refuses new tasks from now on and cancels all there are: their futures are dropped on the executor within one drain.
    ///
    /// # IRQL
    /// Any.
    pub fn cancel(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Counted first in `enter`, so either the newcomer sees the flag or we see the newcomer: both touch the count by a
        // read-modify-write, and the later of the two sees what came before the other.
        if self.tasks.fetch_add(0, Ordering::SeqCst) != 0 {
            // SAFETY: a group with tasks keeps the executor from ending.
            unsafe { &*self.core }.sweep();
        }
    }

    /// Waits until no future of the group is alive. One waiter at a time; cancel-safe.
    pub fn drained(&self) -> Drained<'_> {
        Drained(self)
    }

    pub(crate) fn core(&self) -> *const CoreHead {
        self.core
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Counts a newcomer; false when the group is stopped.
    pub(crate) fn enter(&self) -> bool {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        if self.is_stopped() {
            self.leave();
            return false;
        }
        true
    }

    pub(crate) fn leave(&self) {
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drained.wake();
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({}, {} tasks)", self.name, self.count())
    }
}

/// Future of [`Group::drained`].
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct Drained<'a>(&'a Group);

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        // Also when it was ready at the second look: who left last may have looked for a waker before there was one.
        drop(self.0.drained.take());
    }
}

impl Future for Drained<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.count() == 0 {
            return Poll::Ready(());
        }
        self.0.drained.register(context.waker());
        if self.0.count() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
