// SPDX-License-Identifier: BSD-2-Clause
//! [`Mutex`]: a value that one task at a time has, across await points.
#![expect(unsafe_code, reason = "the value is reached through the permit")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::semaphore::{Permit, Semaphore};

/// A value that one task at a time has, in the order in which they asked. For short sections without await points a spin lock
/// is cheaper.
///
/// # IRQL
/// All methods: <= DISPATCH_LEVEL.
pub struct Mutex<T> {
    permit: Semaphore,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only by whoever has the one permit.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// The value, held; dropping it lets the next one have it.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[must_use = "the mutex is released when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    value: &'a UnsafeCell<T>,
    _permit: Permit<'a>,
}

// SAFETY: a guard gives access to the value like a `&mut T` does.
unsafe impl<T: Send> Send for MutexGuard<'_, T> {}
// SAFETY: a shared guard gives a `&T`.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            permit: Semaphore::new(1),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the value. Cancel-safe.
    ///
    /// # IRQL
    /// That of the task, <= DISPATCH_LEVEL.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let permit = self.permit.acquire().await;
        MutexGuard {
            value: &self.value,
            _permit: permit,
        }
    }

    /// The value, if nobody holds it.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let permit = self.permit.try_acquire()?;
        Some(MutexGuard {
            value: &self.value,
            _permit: permit,
        })
    }

    /// The value, which nobody else can hold.
    ///
    /// # IRQL
    /// Any.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard has the one permit.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the one permit and is borrowed exclusively.
        unsafe { &mut *self.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;
    use core::task::Poll;

    #[test]
    fn one_at_a_time_in_order() {
        let _kernel = crate::nt::sys::fake::boot();
        let mutex = Mutex::new(0);
        let (waker, _) = counted();
        let mut guard = mutex.try_lock().unwrap();
        *guard += 1;
        assert!(mutex.try_lock().is_none());
        let mut next = pin!(mutex.lock());
        assert!(poll_once(next.as_mut(), &waker).is_pending());
        drop(guard);
        let Poll::Ready(guard) = poll_once(next.as_mut(), &waker) else {
            panic!("not granted")
        };
        assert_eq!(*guard, 1);
    }
}
