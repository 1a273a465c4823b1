// SPDX-License-Identifier: BSD-2-Clause
//! [`QueuedSpinLock`]: NT's in-stack queued spin lock around a value, for locks that many processors want at once.
//!
//! Processors get it in the order in which they came, and each spins on a word of its own: the handle on its stack. A holder that
//! forgot to let go would leave others writing to a stack that is gone, so there is no guard to forget: the value is lent to a
//! closure. Nothing can be awaited in there.
#![expect(
    unsafe_code,
    reason = "the value is reached through the lock's proof of exclusion"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;

use super::sys;

/// A value behind an in-stack queued spin lock.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct QueuedSpinLock<T: ?Sized> {
    word: UnsafeCell<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lends the value to one processor at a time.
unsafe impl<T: ?Sized + Send> Send for QueuedSpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for QueuedSpinLock<T> {}

/// Holds the lock while it lives: on the stack of [`QueuedSpinLock::with`], where it does not move. Not `Send`.
struct Held<'a> {
    handle: &'a mut sys::KLOCK_QUEUE_HANDLE,
    not_send: PhantomData<*mut ()>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: filled in by the acquisition and at the same address; restores the level that was found.
        unsafe { sys::KeReleaseInStackQueuedSpinLock(self.handle) };
    }
}

impl<T> QueuedSpinLock<T> {
    /// An unlocked value.
    ///
    /// # IRQL
    /// Any.
    pub const fn new(value: T) -> Self {
        Self {
            word: UnsafeCell::new(0),
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

impl<T: ?Sized> QueuedSpinLock<T> {
    /// Takes the lock, lends the value to `f` at DISPATCH_LEVEL, and lets go.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    ///
    /// ```compile_fail,E0728
    /// async fn held_across_an_await(lock: &kexec::nt::QueuedSpinLock<u32>) {
    ///     lock.with(|value| core::future::ready(*value).await);
    /// }
    /// ```
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut handle = sys::KLOCK_QUEUE_HANDLE {
            Next: core::ptr::null_mut(),
            Lock: core::ptr::null_mut(),
            OldIrql: 0,
        };
        // SAFETY: the word is a spin lock initialised to zero; the handle stays where it is until the release at the end.
        unsafe { sys::KeAcquireInStackQueuedSpinLock(self.word.get(), &mut handle) };
        let held = Held {
            handle: &mut handle,
            not_send: PhantomData,
        };
        // SAFETY: the lock is held, and the reference ends with the closure, before the release.
        let result = f(unsafe { &mut *self.value.get() });
        drop(held);
        result
    }

    /// The value, when it cannot be locked by anyone else.
    ///
    /// # IRQL
    /// Any.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> fmt::Debug for QueuedSpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueuedSpinLock")
    }
}

impl<T: Default> Default for QueuedSpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
