// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's own lock: a spin lock that is held with interrupts off, so it works at every IRQL,
//! interrupt routines included. Hold it briefly; never call a driver, wait or print a line of a driver in it.

use core::ops::{Deref, DerefMut};

use crate::arch;

/// What follows a release.
pub trait Release {
    /// Called on the CPU that has released the lock, with interrupts still off.
    fn released() {}
}

/// Nothing.
#[derive(Debug)]
pub struct Quiet;

impl Release for Quiet {}

/// Data behind an interrupt-safe spin lock.
#[derive(Debug)]
pub struct Lock<T, R = Quiet> {
    inner: spin::Mutex<T>,
    release: core::marker::PhantomData<R>,
}

/// Access to the data; restores the interrupt flag when dropped.
#[derive(Debug)]
pub struct Guard<'a, T, R: Release = Quiet> {
    inner: core::mem::ManuallyDrop<spin::MutexGuard<'a, T>>,
    enabled: bool,
    /// Not `Send`.
    release: core::marker::PhantomData<*const R>,
}

impl<T> Lock<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self::releasing(value)
    }
}

impl<T, R: Release> Lock<T, R> {
    /// A lock around `value` whose release has a consequence.
    pub const fn releasing(value: T) -> Self {
        Self {
            inner: spin::Mutex::new(value),
            release: core::marker::PhantomData,
        }
    }

    /// Takes the lock.
    ///
    /// # IRQL
    ///
    /// Any.
    pub fn lock(&self) -> Guard<'_, T, R> {
        let enabled = arch::disable_interrupts();
        Guard {
            inner: core::mem::ManuallyDrop::new(self.inner.lock()),
            enabled,
            release: core::marker::PhantomData,
        }
    }

    /// Takes the lock if it is free; used where the owner may be this CPU (failure paths).
    pub fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        let enabled = arch::disable_interrupts();
        match self.inner.try_lock() {
            Some(inner) => Some(Guard {
                inner: core::mem::ManuallyDrop::new(inner),
                enabled,
                release: core::marker::PhantomData,
            }),
            None => {
                arch::restore_interrupts(enabled);
                None
            }
        }
    }
}

impl<T, R: Release> Guard<'_, T, R> {
    /// Leaves the lock held; returns whether interrupts were on. Undone by [`Lock::release_forgotten`].
    pub fn forget(self) -> bool {
        let this = core::mem::ManuallyDrop::new(self);
        this.enabled
    }
}

impl<T, R: Release> Lock<T, R> {
    /// Releases a lock whose guard was forgotten, perhaps by another thread on this CPU.
    ///
    /// # Safety
    ///
    /// This CPU holds the lock through a forgotten guard, and nobody refers to the data.
    pub unsafe fn release_forgotten(&self, enabled: bool) {
        // SAFETY: the caller holds the lock without a guard.
        unsafe { self.inner.force_unlock() }
        R::released();
        arch::restore_interrupts(enabled);
    }
}

impl<T, R: Release> Deref for Guard<'_, T, R> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, R: Release> DerefMut for Guard<'_, T, R> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T, R: Release> Drop for Guard<'_, T, R> {
    fn drop(&mut self) {
        // SAFETY: dropped once, here; the field is not used afterwards.
        unsafe { core::mem::ManuallyDrop::drop(&mut self.inner) }
        R::released();
        arch::restore_interrupts(self.enabled);
    }
}
