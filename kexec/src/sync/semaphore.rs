// SPDX-License-Identifier: BSD-2-Clause
//! [`Semaphore`]: a number of permits.

use super::waiters::Waiters;

/// A number of permits that tasks take and give back, first come first served.
///
/// # IRQL
/// All methods: <= DISPATCH_LEVEL.
pub struct Semaphore(Waiters);

/// A permit; dropping it gives it back.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[must_use = "a permit is given back when it is dropped"]
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    /// A semaphore with `permits` permits.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self(Waiters::new(permits, usize::MAX))
    }

    /// Takes a permit. Cancel-safe.
    ///
    /// # IRQL
    /// That of the task, <= DISPATCH_LEVEL.
    pub async fn acquire(&self) -> Permit<'_> {
        // Never closed, so the result is always Ok.
        let _ = self.0.acquire().await;
        Permit(self)
    }

    /// Takes a permit if one is free.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.0.try_acquire().then(|| Permit(self))
    }

    /// Free permits.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.permits()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;
    use core::task::Poll;

    #[test]
    fn a_permit_given_to_a_dropped_waiter_goes_to_the_next() {
        let _kernel = crate::nt::sys::fake::boot();
        let semaphore = Semaphore::new(1);
        let (waker, wakes) = counted();
        let held = semaphore.try_acquire().unwrap();
        let mut second = pin!(semaphore.acquire());
        {
            let mut first = pin!(semaphore.acquire());
            assert!(poll_once(first.as_mut(), &waker).is_pending());
            assert!(poll_once(second.as_mut(), &waker).is_pending());
            drop(held);
            assert_eq!(wakes.get(), 1, "the first waiter has the permit");
        }
        assert_eq!(wakes.get(), 2, "and its drop passes it on");
        let Poll::Ready(permit) = poll_once(second.as_mut(), &waker) else {
            panic!("not granted")
        };
        drop(permit);
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn nobody_overtakes_a_waiter() {
        let _kernel = crate::nt::sys::fake::boot();
        let semaphore = Semaphore::new(1);
        let (waker, _) = counted();
        let held = semaphore.try_acquire().unwrap();
        let mut waiting = pin!(semaphore.acquire());
        assert!(poll_once(waiting.as_mut(), &waker).is_pending());
        drop(held);
        assert!(semaphore.try_acquire().is_none());
        assert!(poll_once(waiting.as_mut(), &waker).is_ready());
    }
}
