// SPDX-License-Identifier: BSD-2-Clause
//! [`Event`]: the asynchronous counterpart of a KEVENT.

use super::waiters::Waiters;

/// What happens to an event's state when a waiter is released.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It releases one waiter and is reset (a synchronisation event).
    Auto,
    /// It releases all waiters and stays set (a notification event).
    Manual,
}

/// A state that many tasks can wait for, in the order in which they came.
///
/// # IRQL
/// All methods: <= DISPATCH_LEVEL.
pub struct Event {
    waiters: Waiters,
    reset: Reset,
}

/// "Set" in the permits of a manual event: more than could ever wait.
const OPEN: usize = usize::MAX / 2;

impl Event {
    /// An event in the given state.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(reset: Reset, signalled: bool) -> Self {
        let permits = match (signalled, reset) {
            (false, _) => 0,
            (true, Reset::Auto) => 1,
            (true, Reset::Manual) => OPEN,
        };
        let most = match reset {
            Reset::Auto => 1,
            // What a dropped waiter was given is not given back: the state alone counts.
            Reset::Manual => 0,
        };
        Self {
            waiters: Waiters::new(permits, most),
            reset,
        }
    }

    /// Sets the event.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set(&self) {
        match self.reset {
            Reset::Auto => self.waiters.release(),
            Reset::Manual => self.waiters.grant_all(OPEN),
        }
    }

    /// Resets the event.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn reset(&self) {
        self.waiters.set_permits(0);
    }

    /// Whether the event is set.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.waiters.permits() > 0
    }

    /// Waits until the event is set. Cancel-safe: an automatic event that released a waiter which was then dropped
    /// releases the next one.
    ///
    /// # IRQL
    /// That of the task, <= DISPATCH_LEVEL.
    pub async fn wait(&self) {
        // Never closed, so the result is always Ok.
        let _ = self.waiters.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;

    #[test]
    fn a_manual_event_releases_everybody_and_stays_set() {
        let _kernel = crate::nt::sys::fake::boot();
        let event = Event::new(Reset::Manual, false);
        let (waker, wakes) = counted();
        {
            let (mut a, mut b) = (pin!(event.wait()), pin!(event.wait()));
            assert!(poll_once(a.as_mut(), &waker).is_pending());
            assert!(poll_once(b.as_mut(), &waker).is_pending());
            event.set();
            assert_eq!(wakes.get(), 2);
            assert!(poll_once(a.as_mut(), &waker).is_ready());
            assert!(poll_once(b.as_mut(), &waker).is_ready());
        }
        assert!(event.is_set());
        event.reset();
        assert!(poll_once(pin!(event.wait()).as_mut(), &waker).is_pending());
    }

    #[test]
    fn an_automatic_event_releases_one_at_a_time_in_order() {
        let _kernel = crate::nt::sys::fake::boot();
        let event = Event::new(Reset::Auto, false);
        let (waker, _) = counted();
        let (mut a, mut b) = (pin!(event.wait()), pin!(event.wait()));
        assert!(poll_once(a.as_mut(), &waker).is_pending());
        assert!(poll_once(b.as_mut(), &waker).is_pending());
        event.set();
        assert!(poll_once(b.as_mut(), &waker).is_pending());
        assert!(poll_once(a.as_mut(), &waker).is_ready());
        assert!(!event.is_set());
        event.set();
        assert!(poll_once(b.as_mut(), &waker).is_ready());
    }
}
