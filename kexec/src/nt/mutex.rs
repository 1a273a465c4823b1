// SPDX-License-Identifier: BSD-2-Clause
//! [`Mutex`]: mutual exclusion between threads, held at PASSIVE_LEVEL.
//!
//! A FAST_MUTEX taken inside a critical region, so its holder stays at PASSIVE_LEVEL and may use the registry, but is not suspended
//! or ended. Not recursive: a thread that takes it twice waits for ever. Tasks wait on [`crate::sync::Mutex`] instead.
#![expect(
    unsafe_code,
    reason = "a kernel object at a fixed address around a value"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use super::sys::{self, FAST_MUTEX};
use super::{Box, Tag};
use crate::{Passive, Result};

struct Block<T> {
    raw: UnsafeCell<FAST_MUTEX>,
    value: UnsafeCell<T>,
}

/// A value that one thread at a time reaches.
///
/// # IRQL
/// Making: <= DISPATCH_LEVEL. Lock: PASSIVE_LEVEL.
pub struct Mutex<T>(Box<Block<T>>);

// SAFETY: the mutex hands out one reference at a time.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked value.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, value: T) -> Result<Self> {
        // SAFETY: all-zero is a valid bit pattern of a FAST_MUTEX.
        let mut raw: FAST_MUTEX = unsafe { core::mem::zeroed() };
        raw.Count = 1;
        let block = Block {
            raw: UnsafeCell::new(raw),
            value: UnsafeCell::new(value),
        };
        let block = Box::try_new(tag, block)?;
        // SAFETY: in pool, where the mutex stays; nobody uses it yet.
        let event = unsafe { &raw mut (*block.raw.get()).Event };
        // SAFETY: storage of an event at its final address.
        unsafe { sys::KeInitializeEvent(event, sys::SynchronizationEvent, 0) };
        Ok(Self(block))
    }

    /// Takes the mutex, waiting for it if need be.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    ///
    /// ```compile_fail,E0277
    /// fn spawnable<F: core::future::Future + Send>(_: F) {}
    /// fn held_across_an_await(mutex: kexec::nt::Mutex<u32>, level: kexec::Passive) {
    ///     let guard = mutex.lock(level);
    ///     spawnable(async move {
    ///         core::future::ready(()).await;
    ///         drop(guard);
    ///     });
    /// }
    /// ```
    pub fn lock(&self, _level: Passive) -> MutexGuard<'_, T> {
        // SAFETY: PASSIVE_LEVEL (token); left again when the guard is dropped.
        unsafe { sys::KeEnterCriticalRegion() };
        // SAFETY: initialised, APCs are disabled.
        unsafe { sys::ExAcquireFastMutexUnsafe(self.0.raw.get()) };
        MutexGuard {
            mutex: self,
            not_send: PhantomData,
        }
    }

    /// The value back.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn into_inner(self) -> T {
        self.0.into_inner().value.into_inner()
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nt::Mutex")
    }
}

/// Holds a [`Mutex`]; not `Send`: the thread that took it gives it back, at PASSIVE_LEVEL.
///
/// # Invariants
/// The mutex is owned by this thread.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    not_send: PhantomData<*mut ()>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the mutex is owned.
        unsafe { &*self.mutex.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is owned, exclusively.
        unsafe { &mut *self.mutex.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: owned by this thread.
        unsafe { sys::ExReleaseFastMutexUnsafe(self.mutex.0.raw.get()) };
        // SAFETY: entered by `lock` in this thread.
        unsafe { sys::KeLeaveCriticalRegion() };
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
