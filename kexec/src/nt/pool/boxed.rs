// SPDX-License-Identifier: BSD-2-Clause
//! [`Box`]: one owned value in pool.
#![expect(unsafe_code, reason = "owns a raw pool block")]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::ptr::NonNull;

use super::{Tag, allocate, release};
use crate::Result;

/// An owned value in non-paged pool.
///
/// # Invariants
/// `ptr` is a live block from `allocate` with `tag`, holding an initialised `T`, owned by this value alone.
///
/// # IRQL
/// Use: any. Making and dropping: <= DISPATCH_LEVEL.
pub struct Box<T> {
    ptr: NonNull<T>,
    tag: Tag,
    owns: PhantomData<T>,
}

// SAFETY: owns its `T` like a value does.
unsafe impl<T: Send> Send for Box<T> {}
// SAFETY: gives out `&T` only through `&self`.
unsafe impl<T: Sync> Sync for Box<T> {}

impl<T> Box<T> {
    /// Moves `value` into a new block; on failure `value` is dropped.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, value: T) -> Result<Self> {
        let ptr = allocate(tag, Layout::new::<T>())?.cast::<T>();
        // SAFETY: a fresh block of `T`'s layout.
        unsafe { ptr.write(value) };
        // INVARIANT: allocated and initialised above.
        Ok(Self {
            ptr,
            tag,
            owns: PhantomData,
        })
    }

    /// As [`Self::try_new`], pinned: a pool block never moves.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_pin(tag: Tag, value: T) -> Result<Pin<Self>> {
        // SAFETY: the value is never moved out (`into_inner` needs the unpinned box).
        Self::try_new(tag, value).map(|owned| unsafe { Pin::new_unchecked(owned) })
    }

    /// Moves the value out and frees the block.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn into_inner(self) -> T {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: initialised, and not dropped again (`ManuallyDrop`).
        let value = unsafe { this.ptr.read() };
        // SAFETY: the block is ours and not used again.
        unsafe { release(this.tag, this.ptr.cast()) };
        value
    }

    /// Gives up ownership, for a pointer that crosses an image boundary; [`Self::from_raw`] takes it back.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn into_raw(self) -> NonNull<T> {
        core::mem::ManuallyDrop::new(self).ptr
    }

    /// Takes back what [`Self::into_raw`] gave up.
    ///
    /// # Safety
    /// `ptr` came from [`Self::into_raw`] of a box with `tag`, and is not used by anyone else any more.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub unsafe fn from_raw(ptr: NonNull<T>, tag: Tag) -> Self {
        Self {
            ptr,
            tag,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Box<T> {
    fn drop(&mut self) {
        // SAFETY: initialised and dropped only here.
        unsafe { self.ptr.drop_in_place() };
        // SAFETY: the block is ours and not used again.
        unsafe { release(self.tag, self.ptr.cast()) };
    }
}

impl<T> Deref for Box<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised and shared through `&self`.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T> DerefMut for Box<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised and exclusive through `&mut self`.
        unsafe { self.ptr.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Box<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
