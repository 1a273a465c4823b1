// SPDX-License-Identifier: BSD-2-Clause
//! [`WatchValue`]: the last value of something, and waiting for it to change.

use core::future::poll_fn;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;

use super::Leave;
use crate::atomic::WakerSlot;

/// A 32-bit value with a version. One task waits; others set it at any IRQL. Values that nobody looked at in time are skipped,
/// the last one never is.
///
/// # IRQL
/// As said at each method.
#[derive(Debug)]
pub struct WatchValue {
    /// Version in the upper half, value in the lower.
    word: AtomicU64,
    waker: WakerSlot,
}

impl WatchValue {
    /// The value at version 0.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self {
            word: AtomicU64::new(value as u64),
            waker: WakerSlot::new(),
        }
    }

    /// The current value.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.word.load(Ordering::Acquire) as u32
    }

    /// Sets the value, which counts as a change even when it is the same, and wakes the waiter.
    ///
    /// # IRQL
    /// Any, when the waiter is a kexec task.
    pub fn set(&self, value: u32) {
        let next = |word: u64| ((word >> 32).wrapping_add(1) << 32) | u64::from(value);
        let mut word = self.word.load(Ordering::Relaxed);
        while let Err(now) =
            self.word
                .compare_exchange_weak(word, next(word), Ordering::AcqRel, Ordering::Relaxed)
        {
            word = now;
        }
        self.waker.wake();
    }

    /// Waits until the value was set after the version in `seen` (start with 0), and stores the version. Cancel-safe.
    ///
    /// # IRQL
    /// That of the task.
    pub async fn changed(&self, seen: &mut u32) -> u32 {
        let leave = Leave::new(|| drop(self.waker.take()));
        let (version, value) = poll_fn(|cx| {
            let look = || {
                let word = self.word.load(Ordering::Acquire);
                ((word >> 32) as u32, word as u32)
            };
            let first = look();
            if first.0 != *seen {
                return Poll::Ready(first);
            }
            self.waker.register(cx.waker());
            let second = look();
            if second.0 == *seen {
                return Poll::Pending;
            }
            // Who set it may have looked for a waker before there was one.
            drop(self.waker.take());
            Poll::Ready(second)
        })
        .await;
        leave.done();
        *seen = version;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;

    #[test]
    fn the_last_value_is_seen_once() {
        let value = WatchValue::new(7);
        let (waker, wakes) = counted();
        let mut seen = 0;
        {
            let mut wait = pin!(value.changed(&mut seen));
            assert!(poll_once(wait.as_mut(), &waker).is_pending());
            value.set(8);
            value.set(9);
            assert!(wakes.get() >= 1);
            assert_eq!(poll_once(wait.as_mut(), &waker), Poll::Ready(9));
        }
        assert!(poll_once(pin!(value.changed(&mut seen)).as_mut(), &waker).is_pending());
    }
}
