// SPDX-License-Identifier: BSD-2-Clause
//! [`BitEvents`]: a fixed set of events in one word, for a task that waits for any of them.
//!
//! ```text
//!   word = WAITING | events
//!
//!         1 set                       2 poll: none there
//!   0 ---------> events        0 ------------------------> WAITING
//!   ^              |                                          | 3 set: this one wakes
//!   +--------------+                                          v
//!     4 take, poll: all of them            0 <-------- WAITING | events
//!                                              4
//! ```
//! Every event is one read-modify-write; the one that finds a waiter and no event before it (3) also wakes the task. Later ones
//! find the first and do not.

use core::future::poll_fn;
use core::task::{Context, Poll};

use super::Leave;
use crate::atomic::{AtomicU32, AtomicWaker, Ordering};

const WAITING: u32 = 1 << 31;

/// Up to 31 events, bits 0 to 30, and one waiter. Setting one that is set already changes nothing: the waiter looks at the state
/// that they are about. A second waiter takes the place of the first, which then sleeps on.
///
/// # IRQL
/// Any.
pub struct BitEvents {
    word: AtomicU32,
    waker: AtomicWaker,
}

impl BitEvents {
    /// The bits that are events.
    pub const ALL: u32 = !WAITING;

    /// None set.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Sets `events`, and wakes the waiter when they are the first that it has not seen.
    ///
    /// # IRQL
    /// Any, when the waiter is a kexec task.
    pub fn set(&self, events: u32) {
        debug_assert!(events & WAITING == 0, "bit 31 is not an event");
        // Always a real read-modify-write: it orders what the event is about before the waiter's look.
        if self.word.fetch_or(events & Self::ALL, Ordering::AcqRel) == WAITING {
            self.waker.wake();
        }
    }

    /// Takes all events that are set.
    ///
    /// # IRQL
    /// Any.
    pub fn take(&self) -> u32 {
        self.word.fetch_and(WAITING, Ordering::AcqRel) & Self::ALL
    }

    /// Waits until at least one is set, and takes all. Cancel-safe: they are taken only when the future is ready.
    ///
    /// # IRQL
    /// That of the task.
    pub async fn wait(&self) -> u32 {
        let leave = Leave::new(|| self.leave());
        let events = poll_fn(|cx| self.poll_wait(cx)).await;
        leave.done();
        events
    }

    /// The poll form of [`Self::wait`]. After `Pending` the caller's waker stays here, and keeps its task, until the next event or
    /// [`Self::leave`].
    ///
    /// # IRQL
    /// That of the task.
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<u32> {
        match self.take_all() {
            0 => {}
            events => return Poll::Ready(events),
        }
        self.waker.register(cx.waker());
        // From here on the next `set` wakes; what was set before is seen here.
        if self.word.fetch_or(WAITING, Ordering::AcqRel) & Self::ALL == 0 {
            return Poll::Pending;
        }
        // Whoever set them before that does not wake.
        self.leave();
        Poll::Ready(self.take_all())
    }

    /// Gives up a wait that was polled with [`Self::poll_wait`]; the events stay.
    ///
    /// # IRQL
    /// That of the task.
    pub fn leave(&self) {
        drop(self.waker.take());
    }

    /// Takes all, and says that nobody waits any more.
    fn take_all(&self) -> u32 {
        self.word.fetch_and(0, Ordering::AcqRel) & Self::ALL
    }
}

impl Default for BitEvents {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for BitEvents {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BitEvents({:#x})", self.word.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::atomic::count;
    use crate::sync::testing::{counted, poll_once};

    #[test]
    fn events_are_one_read_modify_write_each_and_the_first_one_wakes() {
        let events = BitEvents::new();
        assert_eq!(count(|| events.set(1)).0, 1);
        let (waker, wakes) = counted();
        let mut wait = core::pin::pin!(events.wait());
        assert_eq!(poll_once(wait.as_mut(), &waker), Poll::Ready(1));
        let mut wait = core::pin::pin!(events.wait());
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        // The waker's own are the crate's and not counted here.
        assert_eq!(count(|| events.set(2)).0, 1);
        assert_eq!(count(|| events.set(4)).0, 1);
        assert_eq!(count(|| events.set(2)).0, 1);
        assert_eq!(wakes.get(), 1);
        assert_eq!(poll_once(wait.as_mut(), &waker), Poll::Ready(6));
        assert_eq!(events.take(), 0);
    }

    #[test]
    fn a_dropped_wait_leaves_the_events_and_the_next_wait_is_woken() {
        let events = BitEvents::new();
        let (waker, wakes) = counted();
        {
            let mut wait = core::pin::pin!(events.wait());
            assert!(poll_once(wait.as_mut(), &waker).is_pending());
            events.set(8);
        }
        assert_eq!(wakes.get(), 1);
        assert_eq!(events.take(), 8);
        let mut wait = core::pin::pin!(events.wait());
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        events.set(16);
        assert_eq!(wakes.get(), 2);
        assert_eq!(poll_once(wait.as_mut(), &waker), Poll::Ready(16));
    }

    #[test]
    fn a_wait_that_is_given_up_takes_its_waker_along() {
        let events = BitEvents::new();
        let (waker, wakes) = counted();
        let mut wait = std::boxed::Box::pin(events.wait());
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        drop(wait);
        events.set(1);
        assert_eq!(wakes.get(), 0, "a waker was left");
        assert_eq!(events.take(), 1);
    }

    #[test]
    fn events_taken_beside_the_waiter_do_not_stop_the_next_from_waking_it() {
        let events = BitEvents::new();
        let (waker, wakes) = counted();
        let mut wait = core::pin::pin!(events.wait());
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        events.set(1);
        assert_eq!(events.take(), 1);
        // The task was woken and finds nothing.
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        events.set(2);
        assert_eq!(wakes.get(), 2);
        assert_eq!(poll_once(wait.as_mut(), &waker), Poll::Ready(2));
    }
}

#[cfg(all(test, loom))]
mod loom_model {
    use core::task::{Context, Poll, Waker};
    use std::sync::Arc as StdArc;
    use std::sync::atomic::{AtomicUsize as Count, Ordering as StdOrdering};
    use std::task::Wake;

    use super::*;

    struct Counter(Count);
    impl Wake for Counter {
        fn wake(self: StdArc<Self>) {
            self.0.fetch_add(1, StdOrdering::SeqCst);
        }
    }

    /// Two setters and a waiter: no event is lost, and a waiter that was told `Pending` before an event is woken.
    ///
    /// Mutants: `events-are-not-looked-at-again`, `waiting-said-before-the-waker-is-there`, `events-wake-only-who-does-not-wait`,
    /// `waker-kept-by-the-second-look`.
    #[test]
    fn loom_bit_events_lose_nothing() {
        loom::model(|| {
            let events = loom::sync::Arc::new(BitEvents::new());
            let threads: std::vec::Vec<_> = [1, 2]
                .into_iter()
                .map(|bit| {
                    let events = events.clone();
                    loom::thread::spawn(move || events.set(bit))
                })
                .collect();
            let counter = StdArc::new(Counter(Count::new(0)));
            let waker = Waker::from(counter.clone());
            let mut context = Context::from_waker(&waker);
            let mut seen = 0;
            let first = events.poll_wait(&mut context);
            if let Poll::Ready(bits) = first {
                seen |= bits;
                // Ours and the waker's.
                assert_eq!(StdArc::strong_count(&counter), 2, "a waker is left");
            }
            for thread in threads {
                thread.join().expect("no panic");
            }
            if first.is_pending() {
                assert_eq!(counter.0.load(StdOrdering::SeqCst), 1, "one wake");
            }
            if let Poll::Ready(bits) = events.poll_wait(&mut context) {
                seen |= bits;
            }
            assert_eq!(seen, 3);
        });
    }
}
