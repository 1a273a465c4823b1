// SPDX-License-Identifier: BSD-2-Clause
//! [`SpinLock`]: NT's executive spin lock around a value.
//!
//! Taking it raises to DISPATCH_LEVEL, dropping the guard restores the level found. The guard is not `Send`, and a task's future
//! must be, so a guard held across an `.await` does not compile. Guards are dropped in the reverse order of their making.
#![expect(
    unsafe_code,
    reason = "the value is reached through the lock's proof of exclusion"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

#[cfg(any(loom, shuttle))]
use crate::atomic::LockWord;
#[cfg(not(any(loom, shuttle)))]
use word::LockWord;

#[cfg(not(any(loom, shuttle)))]
mod word {
    use core::cell::UnsafeCell;

    use crate::nt::sys;

    /// NT's spin lock.
    pub(super) struct LockWord(UnsafeCell<usize>);

    impl LockWord {
        pub(super) const fn new() -> Self {
            Self(UnsafeCell::new(0))
        }
        /// The level to restore.
        pub(super) fn acquire(&self) -> u8 {
            // SAFETY: the word is a spin lock initialised to zero, at a fixed address while borrowed.
            unsafe { sys::KeAcquireSpinLockRaiseToDpc(self.0.get()) }
        }
        /// # Safety
        /// The caller holds the lock, and `old` is what `acquire` returned.
        pub(super) unsafe fn release(&self, old: u8) {
            // SAFETY: by contract.
            unsafe { sys::KeReleaseSpinLock(self.0.get(), old) };
        }
    }
}

/// A value behind a spin lock.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct SpinLock<T: ?Sized> {
    word: LockWord,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked value.
    ///
    /// # IRQL
    /// Any.
    pub const fn new(value: T) -> Self {
        Self {
            word: LockWord::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value back.
    ///
    /// # IRQL
    /// Any.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL; DISPATCH_LEVEL until the guard is dropped.
    ///
    /// ```compile_fail,E0277
    /// fn spawnable<F: core::future::Future + Send>(_: F) {}
    /// let lock = kexec::nt::SpinLock::new(0);
    /// spawnable(async move {
    ///     let guard = lock.lock();
    ///     core::future::ready(()).await;
    ///     drop(guard);
    /// });
    /// ```
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let old = self.word.acquire();
        SpinGuard {
            lock: self,
            old,
            not_send: PhantomData,
        }
    }

    /// Takes the lock for a caller that lets go of it in another call, such as a pair of callbacks.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL: there is no level to restore.
    pub fn hold(&self) {
        core::mem::forget(self.lock());
    }

    /// Lets go of the lock that [`Self::hold`] took.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL.
    ///
    /// # Safety
    /// [`Self::hold`] was called on this processor, and this was not called since.
    pub unsafe fn let_go(&self) {
        // SAFETY: held, by the contract, since DISPATCH_LEVEL.
        unsafe { self.word.release(crate::irql::DISPATCH_LEVEL) };
    }

    /// The value, when it cannot be locked by anyone else.
    ///
    /// # IRQL
    /// Any.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLock")
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Holds a [`SpinLock`]; not `Send`.
///
/// # Invariants
/// The lock is held by this processor, at DISPATCH_LEVEL.
///
/// # IRQL
/// DISPATCH_LEVEL.
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    old: u8,
    not_send: PhantomData<*mut ()>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held by this guard; restores the level that was found.
        unsafe { self.lock.word.release(self.old) };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
