// SPDX-License-Identifier: BSD-2-Clause
//! [`Channel`]: a bounded queue from many tasks to one.

use core::future::poll_fn;
use core::task::Poll;

use super::Leave;
use crate::atomic::WakerSlot;
use heapless::Deque;

use super::waiters::Waiters;
use crate::nt::SpinLock;

/// A value that did not fit, or came after the close.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// A queue of at most `N` values in their order of arrival; senders wait for room, first come first served.
///
/// # IRQL
/// All methods: <= DISPATCH_LEVEL.
pub struct Channel<T, const N: usize> {
    queue: SpinLock<Deque<T, N>>,
    room: Waiters,
    waker: WakerSlot,
}

impl<T: Send, const N: usize> Channel<T, N> {
    /// An empty channel.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: SpinLock::new(Deque::new()),
            room: Waiters::new(N, N),
            waker: WakerSlot::new(),
        }
    }

    /// Queues a value.
    ///
    /// # Errors
    /// The value, when there is no room or the channel is closed.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_send(&self, value: T) -> Result<(), Full<T>> {
        if self.room.try_acquire() {
            self.put(value)
        } else {
            Err(Full(value))
        }
    }

    /// Waits for room and queues a value. Cancel-safe: dropped early, the value was not queued.
    ///
    /// # Errors
    /// The value, when the channel is closed.
    ///
    /// # IRQL
    /// That of the task, <= DISPATCH_LEVEL.
    pub async fn send(&self, value: T) -> Result<(), Full<T>> {
        match self.room.acquire().await {
            Ok(()) => self.put(value),
            Err(_) => Err(Full(value)),
        }
    }

    fn put(&self, value: T) -> Result<(), Full<T>> {
        // There is room: permits and queued values together are never more than N.
        let result = self.queue.lock().push_back(value).map_err(Full);
        self.waker.wake();
        result
    }

    /// The next value, if there is one.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_recv(&self) -> Option<T> {
        let value = self.queue.lock().pop_front()?;
        self.room.release();
        Some(value)
    }

    /// Waits for the next value; `None` when the channel is closed and empty. One receiver. Cancel-safe.
    ///
    /// # IRQL
    /// That of the task, <= DISPATCH_LEVEL.
    pub async fn recv(&self) -> Option<T> {
        let leave = Leave::new(|| drop(self.waker.take()));
        let value = poll_fn(|cx| {
            if let Some(value) = self.try_recv() {
                return Poll::Ready(Some(value));
            }
            self.waker.register(cx.waker());
            // Closed is looked at before the queue: what was queued before the close is still delivered.
            let closed = self.room.is_closed();
            let value = match self.try_recv() {
                Some(value) => Some(value),
                None if closed => None,
                None => return Poll::Pending,
            };
            // Its sender may have looked for a waker before there was one.
            drop(self.waker.take());
            Poll::Ready(value)
        })
        .await;
        leave.done();
        value
    }

    /// Ends the channel: sends fail, the receiver gets what is queued and then `None`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn close(&self) {
        self.room.close();
        self.waker.wake();
    }
}

impl<T: Send, const N: usize> Default for Channel<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;

    #[test]
    fn a_full_channel_makes_its_sender_wait() {
        let _kernel = crate::nt::sys::fake::boot();
        let channel = Channel::<u8, 2>::new();
        let (waker, wakes) = counted();
        channel.try_send(1).unwrap();
        channel.try_send(2).unwrap();
        assert_eq!(channel.try_send(3), Err(Full(3)));
        let mut send = pin!(channel.send(3));
        assert!(poll_once(send.as_mut(), &waker).is_pending());
        assert_eq!(channel.try_recv(), Some(1));
        assert_eq!(wakes.get(), 1);
        assert_eq!(poll_once(send.as_mut(), &waker), Poll::Ready(Ok(())));
        assert_eq!(channel.try_recv(), Some(2));
        assert_eq!(channel.try_recv(), Some(3));
        assert_eq!(channel.try_recv(), None);
    }

    #[test]
    fn a_closed_channel_delivers_what_it_has_and_ends() {
        let _kernel = crate::nt::sys::fake::boot();
        let channel = Channel::<u8, 2>::new();
        let (waker, wakes) = counted();
        channel.try_send(1).unwrap();
        {
            let mut recv = pin!(channel.recv());
            assert_eq!(poll_once(recv.as_mut(), &waker), Poll::Ready(Some(1)));
        }
        let mut recv = pin!(channel.recv());
        assert!(poll_once(recv.as_mut(), &waker).is_pending());
        channel.close();
        assert_eq!(wakes.get(), 1);
        assert_eq!(poll_once(recv.as_mut(), &waker), Poll::Ready(None));
        assert_eq!(channel.try_send(4), Err(Full(4)));
        assert_eq!(
            poll_once(pin!(channel.send(5)).as_mut(), &waker),
            Poll::Ready(Err(Full(5)))
        );
    }
}
