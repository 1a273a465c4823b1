// SPDX-License-Identifier: BSD-2-Clause
//! [`Group`]: the tasks of one device or service, stopped together: refuse, cancel, drain, prove zero.
//!
//! ```text
//!   word = tasks << 16 | cancellers << 1 | STOPPED
//! ```
//! The group holds its executor from its first task or canceller to the last one of both. `cancel` becomes a canceller only beside
//! a task, by the same read-modify-write that sets STOPPED, so the executor that it then touches is there until it is done, even
//! when the last task ends meanwhile.
#![expect(unsafe_code, reason = "names its executor by address")]

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::atomic::{AtomicUsize, AtomicWaker, Ordering};
use crate::exec::CoreHead;

/// New tasks are refused.
const STOPPED: usize = 1;
/// One call of [`Group::cancel`] that uses the executor.
const CANCELLER: usize = 1 << 1;
/// One task.
const TASK: usize = 1 << 16;

/// A set of tasks of one executor; made by the executor's `group`.
///
/// # IRQL
/// <= DISPATCH_LEVEL; [`Self::cancel`] any.
pub struct Group {
    name: &'static str,
    core: *const CoreHead,
    word: AtomicUsize,
    drained: AtomicWaker,
}

// SAFETY: atomics, and an executor that is there while it is used (module doc).
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Group {
    /// # Safety
    /// The executor is there during every call of [`Self::enter`], and ends only once it is not held any more.
    pub(crate) unsafe fn new(core: *const CoreHead, name: &'static str) -> Self {
        Self {
            name,
            core,
            word: AtomicUsize::new(0),
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
        self.word.load(Ordering::Acquire) / TASK
    }

    /// Refuses new tasks from now on and cancels all there are: their futures are dropped on the executor within one drain.
    ///
    /// # IRQL
    /// Any.
    pub fn cancel(&self) {
        // A newcomer either sees STOPPED or is seen here: each side changes the one word.
        let stop = |word| {
            let canceller = if word >= TASK { CANCELLER } else { 0 };
            Some((word | STOPPED) + canceller)
        };
        let before = self
            .word
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, stop);
        if before.is_ok_and(|word| word >= TASK) {
            // SAFETY: held by the group until this canceller is gone.
            unsafe { &*self.core }.sweep();
            self.forget(CANCELLER);
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
        self.word.load(Ordering::SeqCst) & STOPPED != 0
    }

    /// Counts a newcomer; false when the group is stopped.
    pub(crate) fn enter(&self) -> bool {
        let newcomer = |word| (word & STOPPED == 0).then_some(word + TASK);
        let before = self
            .word
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, newcomer);
        if before == Ok(0) {
            // SAFETY: there during this call, by contract of `new`.
            unsafe { &*self.core }.hold();
        }
        before.is_ok()
    }

    /// A task of the group is gone. The caller keeps the executor for the whole call.
    pub(crate) fn leave(&self) {
        if self.forget(TASK) / TASK == 1 {
            self.drained.wake();
        }
    }

    /// Takes one task or canceller off, and lets the executor go with the last; the word before.
    fn forget(&self, one: usize) -> usize {
        let before = self.word.fetch_sub(one, Ordering::SeqCst);
        if (before - one) & !STOPPED == 0 {
            // SAFETY: held since the word left 0; the last touch.
            unsafe { &*self.core }.let_go();
        }
        before
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
