// SPDX-License-Identifier: BSD-2-Clause
//! [`Notify`]: one task is told that something happened.

use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use super::Leave;
use crate::atomic::WakerSlot;

/// One permit and one waiter: the way an interrupt or another task says "look again".
///
/// Notifications coalesce; the waiter looks at the state that they are about. A second waiter takes the place of the first,
/// which then sleeps on: give every waiter a `Notify` of its own.
///
/// # IRQL
/// As said at each method.
#[derive(Debug, Default)]
pub struct Notify {
    permit: AtomicBool,
    waker: WakerSlot,
}

impl Notify {
    /// Without a permit.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            permit: AtomicBool::new(false),
            waker: WakerSlot::new(),
        }
    }

    /// Leaves the permit and wakes the waiter.
    ///
    /// # IRQL
    /// Any, when the waiter is a kexec task.
    pub fn notify(&self) {
        // A real exchange, never a load first: a duplicate must still order what it is about before the waiter's look.
        if !self.permit.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Takes the permit if there is one.
    ///
    /// # IRQL
    /// Any.
    pub fn try_take(&self) -> bool {
        self.permit.swap(false, Ordering::AcqRel)
    }

    /// Waits for the permit and takes it. Cancel-safe: a permit is taken only when the future is ready.
    ///
    /// # IRQL
    /// That of the task.
    pub async fn notified(&self) {
        let leave = Leave::new(|| self.leave());
        poll_fn(|cx| self.poll_notified(cx)).await;
        leave.done();
    }

    /// Waits for what `poll` waits for, which may call [`Self::poll_notified`]; leaves no waker here, also when it is dropped.
    ///
    /// # IRQL
    /// That of the task.
    pub async fn wait_until<T>(&self, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        // Also when it is ready: by something else than a notification, perhaps.
        let _leave = Leave::new(|| self.leave());
        poll_fn(poll).await
    }

    /// The poll form of [`Self::notified`]. After `Pending` the caller's waker stays here, and keeps its task, until the next
    /// notification or [`Self::leave`].
    ///
    /// # IRQL
    /// That of the task.
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.try_take() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.try_take() {
            // Its notification may have looked for a waker before there was one.
            self.leave();
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Gives up a wait that was polled with [`Self::poll_notified`].
    ///
    /// # IRQL
    /// That of the task.
    pub fn leave(&self) {
        drop(self.waker.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};

    #[test]
    fn a_notification_before_the_wait_is_not_lost() {
        let notify = Notify::new();
        notify.notify();
        notify.notify();
        let (waker, wakes) = counted();
        let mut wait = core::pin::pin!(notify.notified());
        assert!(poll_once(wait.as_mut(), &waker).is_ready());
        assert_eq!(wakes.get(), 0);
        assert!(!notify.try_take(), "notifications coalesce");
    }

    #[test]
    fn duplicates_wake_once() {
        let notify = Notify::new();
        let (waker, wakes) = counted();
        let mut wait = core::pin::pin!(notify.notified());
        assert!(poll_once(wait.as_mut(), &waker).is_pending());
        notify.notify();
        notify.notify();
        assert_eq!(wakes.get(), 1);
        assert!(poll_once(wait.as_mut(), &waker).is_ready());
    }

    #[test]
    fn a_dropped_wait_leaves_the_permit() {
        let notify = Notify::new();
        let (waker, _) = counted();
        {
            let mut wait = core::pin::pin!(notify.notified());
            assert!(poll_once(wait.as_mut(), &waker).is_pending());
            notify.notify();
        }
        assert!(notify.try_take());
    }
}
