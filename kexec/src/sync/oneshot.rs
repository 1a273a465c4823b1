// SPDX-License-Identifier: BSD-2-Clause
//! One value from one place to another, once.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::atomic::WakerSlot;
use crate::nt::{Arc, SpinLock, Tag};
use crate::status::{Result, Status};

/// The sender was dropped without a value.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl From<Closed> for Status {
    fn from(_: Closed) -> Self {
        Self::CANCELLED
    }
}

enum Slot<T> {
    Waiting,
    Value(T),
    SenderGone,
    ReceiverGone,
    Taken,
}

struct Shared<T> {
    slot: SpinLock<Slot<T>>,
    waker: WakerSlot,
}

/// The end that gives the value. Dropping it tells the receiver.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct Sender<T: Send + 'static>(Arc<Shared<T>>);

/// The end that waits: a future. Dropping it drops a value that has come.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct Receiver<T: Send + 'static>(Arc<Shared<T>>);

/// Makes a pair, with one allocation.
///
/// # Errors
/// Out of memory.
///
/// # IRQL
/// <= DISPATCH_LEVEL, like every method here.
pub fn try_new<T: Send + 'static>(tag: Tag) -> Result<(Sender<T>, Receiver<T>)> {
    let shared = Arc::try_new(
        tag,
        Shared {
            slot: SpinLock::new(Slot::Waiting),
            waker: WakerSlot::new(),
        },
    )?;
    Ok((Sender(shared.clone()), Receiver(shared)))
}

impl<T: Send + 'static> Sender<T> {
    /// Gives the value.
    ///
    /// # Errors
    /// The value, when nobody waits any more.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn send(self, value: T) -> core::result::Result<(), T> {
        let refused = {
            let mut slot = self.0.slot.lock();
            if matches!(*slot, Slot::ReceiverGone) {
                Some(value)
            } else {
                *slot = Slot::Value(value);
                None
            }
        };
        self.0.waker.wake();
        refused.map_or(Ok(()), Err)
    }

    /// Whether the receiver is gone.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.0.slot.lock(), Slot::ReceiverGone)
    }
}

impl<T: Send + 'static> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.0.slot.lock();
        if matches!(*slot, Slot::Waiting) {
            *slot = Slot::SenderGone;
            drop(slot);
            self.0.waker.wake();
        }
    }
}

impl<T: Send + 'static> Future for Receiver<T> {
    type Output = core::result::Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.waker.register(cx.waker());
        let mut slot = self.0.slot.lock();
        match core::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Value(value) => Poll::Ready(Ok(value)),
            Slot::Waiting => {
                *slot = Slot::Waiting;
                Poll::Pending
            }
            Slot::SenderGone | Slot::ReceiverGone | Slot::Taken => Poll::Ready(Err(Closed)),
        }
    }
}

impl<T: Send + 'static> Drop for Receiver<T> {
    fn drop(&mut self) {
        let old = core::mem::replace(&mut *self.0.slot.lock(), Slot::ReceiverGone);
        // A value's drop runs outside the lock.
        drop(old);
        // The sender may live on, and must not keep the task that waited.
        drop(self.0.waker.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::Pin;

    const TAG: Tag = Tag(*b"test");

    #[test]
    fn a_value_wakes_the_receiver() {
        let _kernel = crate::nt::sys::fake::boot();
        let (sender, mut receiver) = try_new(TAG).unwrap();
        let (waker, wakes) = counted();
        assert!(poll_once(Pin::new(&mut receiver), &waker).is_pending());
        sender.send(5).unwrap();
        assert_eq!(wakes.get(), 1);
        assert_eq!(
            poll_once(Pin::new(&mut receiver), &waker),
            Poll::Ready(Ok(5))
        );
    }

    #[test]
    fn a_dropped_sender_ends_the_wait() {
        let _kernel = crate::nt::sys::fake::boot();
        let (sender, mut receiver) = try_new::<u8>(TAG).unwrap();
        let (waker, wakes) = counted();
        assert!(poll_once(Pin::new(&mut receiver), &waker).is_pending());
        drop(sender);
        assert_eq!(wakes.get(), 1);
        assert_eq!(
            poll_once(Pin::new(&mut receiver), &waker),
            Poll::Ready(Err(Closed))
        );
    }

    #[test]
    fn a_dropped_receiver_gives_the_value_back() {
        let _kernel = crate::nt::sys::fake::boot();
        let (sender, receiver) = try_new(TAG).unwrap();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(6), Err(6));
    }
}
