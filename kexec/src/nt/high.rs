// SPDX-License-Identifier: BSD-2-Clause
//! [`HighLock`]: a lock that interrupt routines and debug callbacks may take.
//!
//! Taking it raises to HIGH_LEVEL first, so whoever holds it runs to its end without interruption and a processor that waits for
//! it waits only for a few instructions of another one. What is done under it must be short, and may call nothing that has an
//! IRQL rule. A bug check stops processors wherever they are: on that path only [`HighLock::try_lock`] is safe.
#![expect(
    unsafe_code,
    reason = "the value is reached through the lock's proof of exclusion"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::hint::spin_loop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::irql::Raised;

/// A value behind a lock that is usable at any IRQL.
///
/// # IRQL
/// Any.
pub struct HighLock<T: ?Sized> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time.
unsafe impl<T: ?Sized + Send> Send for HighLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for HighLock<T> {}

impl<T> HighLock<T> {
    /// An unlocked value.
    ///
    /// # IRQL
    /// Any.
    pub const fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> HighLock<T> {
    /// Takes the lock. Not to be taken again by its holder: that would wait for ever.
    ///
    /// # IRQL
    /// Any; HIGH_LEVEL until the guard is dropped.
    pub fn lock(&self) -> HighGuard<'_, T> {
        let raised = Raised::to_high();
        while self.held.swap(true, Ordering::Acquire) {
            while self.held.load(Ordering::Relaxed) {
                spin_loop();
            }
        }
        HighGuard {
            lock: self,
            _raised: raised,
        }
    }

    /// Takes the lock if nobody has it.
    ///
    /// # IRQL
    /// Any; HIGH_LEVEL until the guard is dropped.
    pub fn try_lock(&self) -> Option<HighGuard<'_, T>> {
        let raised = Raised::to_high();
        let taken = !self.held.swap(true, Ordering::Acquire);
        taken.then(|| HighGuard {
            lock: self,
            _raised: raised,
        })
    }
}

impl<T: ?Sized> fmt::Debug for HighLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HighLock")
    }
}

/// Holds a [`HighLock`]; not `Send`.
///
/// # Invariants
/// The lock is held by this processor, at HIGH_LEVEL.
///
/// # IRQL
/// HIGH_LEVEL.
#[derive(Debug)]
pub struct HighGuard<'a, T: ?Sized> {
    lock: &'a HighLock<T>,
    _raised: Raised,
}

impl<T: ?Sized> Deref for HighGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for HighGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for HighGuard<'_, T> {
    fn drop(&mut self) {
        // The level falls after this, with `_raised`.
        self.lock.held.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::HighLock;
    use crate::irql::{DISPATCH_LEVEL, HIGH_LEVEL, Raised, current};
    use crate::nt::sys::fake;

    #[test]
    fn the_holder_is_at_high_level_and_comes_back_to_where_it_was() {
        let _session = fake::boot();
        let lock = HighLock::new(1);
        let raised = Raised::to_dispatch();
        {
            let mut guard = lock.lock();
            *guard += 1;
            assert_eq!(current(), HIGH_LEVEL);
            assert!(lock.try_lock().is_none());
            assert_eq!(current(), HIGH_LEVEL);
        }
        assert_eq!(current(), DISPATCH_LEVEL);
        assert_eq!(lock.try_lock().as_deref(), Some(&2));
        drop(raised);
        assert_eq!(current(), 0);
    }

    #[test]
    fn processors_exclude_each_other() {
        let _session = fake::boot();
        let lock = std::sync::Arc::new(HighLock::new(0));
        let threads: std::vec::Vec<_> = (1..4)
            .map(|cpu| {
                let lock = lock.clone();
                fake::spawn(cpu, move || {
                    for _ in 0..1000 {
                        *lock.lock() += 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(*lock.lock(), 3000);
    }
}
