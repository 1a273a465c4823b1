// SPDX-License-Identifier: BSD-2-Clause
//! The workloads: futures that are the same on every executor. They use atomics with plain loads and stores only, so that what is
//! measured is the executor.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

/// What a parked task shares with the one who wakes it. The task registers its waker at its first poll and keeps it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    waker: OnceLock<Waker>,
    polls: AtomicUsize,
}

impl Slot {
    /// Wakes the task, which has been polled before.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The task's waker once it was polled.
    pub(crate) fn waker(&self) -> Option<&Waker> {
        self.waker.get()
    }

    /// Polls so far.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Relaxed)
    }

    fn polled(&self, waker: &Waker) {
        if self.waker.get().is_none() {
            let _ = self.waker.set(waker.clone());
        }
        self.polls.store(self.polls() + 1, Relaxed);
    }
}

/// A task that is always parked after a poll.
pub(crate) fn parked(slot: Arc<Slot>) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |context| {
        slot.polled(context.waker());
        Poll::Pending
    })
}

/// How many operations are left, and whom to tell when none is.
#[derive(Debug, Default)]
pub(crate) struct Left {
    left: AtomicUsize,
}

impl Left {
    /// Asks for `n` operations.
    pub(crate) fn set(&self, n: usize) {
        self.left.store(n, Relaxed);
    }

    /// Whether none is left.
    pub(crate) fn done(&self) -> bool {
        self.left.load(Relaxed) == 0
    }

    /// Takes one; false when there is none.
    pub(crate) fn take(&self) -> bool {
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(1), Relaxed);
        left != 0
    }
}

/// A task that wakes itself as long as operations are left, and parks then.
pub(crate) fn self_wake(
    slot: Arc<Slot>,
    left: Arc<Left>,
) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |context| {
        slot.polled(context.waker());
        if left.take() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
}

/// One of two tasks that wake each other as long as operations are left.
pub(crate) fn ping(
    mine: Arc<Slot>,
    other: Arc<Slot>,
    left: Arc<Left>,
) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |context| {
        mine.polled(context.waker());
        if left.take() {
            other.wake();
        }
        Poll::Pending
    })
}
