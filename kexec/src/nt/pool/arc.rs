// SPDX-License-Identifier: BSD-2-Clause
//! [`Arc`]: a shared value in pool. No weak references: owners are listed by design, not discovered.
#![expect(unsafe_code, reason = "shares a raw pool block by reference count")]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use super::{Tag, allocate, release};
use crate::Result;

#[repr(C)]
struct Inner<T> {
    count: AtomicUsize,
    tag: Tag,
    value: T,
}

/// A reference-counted value in non-paged pool.
///
/// # Invariants
/// `ptr` is a live block whose `count` includes this reference.
///
/// # IRQL
/// Use and clone: any. Making, and dropping the last reference: <= DISPATCH_LEVEL.
pub struct Arc<T> {
    ptr: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

// SAFETY: as for std's Arc: shares `&T`, and the last reference drops the `T` on its thread.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}
impl<T> Unpin for Arc<T> {}

impl<T> Arc<T> {
    /// Moves `value` into a new shared block; on failure `value` is dropped.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, value: T) -> Result<Self> {
        let ptr = allocate(tag, Layout::new::<Inner<T>>())?.cast::<Inner<T>>();
        // SAFETY: a fresh block of this layout.
        unsafe {
            ptr.write(Inner {
                count: AtomicUsize::new(1),
                tag,
                value,
            })
        };
        // INVARIANT: the count of one is this reference.
        Ok(Self {
            ptr,
            owns: PhantomData,
        })
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: live by the invariant.
        unsafe { self.ptr.as_ref() }
    }

    /// Whether both name the same block.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.ptr == other.ptr
    }

    /// Number of references at this moment: for checks at stop, not for decisions.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn count(this: &Self) -> usize {
        this.inner().count.load(Ordering::Acquire)
    }

    /// The value, when this is the only reference.
    ///
    /// # IRQL
    /// Any.
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        if this.inner().count.load(Ordering::Acquire) != 1 {
            return None;
        }
        // SAFETY: the only reference, held exclusively.
        Some(unsafe { &mut this.ptr.as_mut().value })
    }

    /// The address of the value; [`Self::from_raw`] takes the reference back. For contexts of C tables.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn into_raw(this: Self) -> *const T {
        let this = core::mem::ManuallyDrop::new(this);
        &raw const this.inner().value
    }

    /// Takes back a reference given up with [`Self::into_raw`].
    ///
    /// # Safety
    /// `value` came from [`Self::into_raw`], once for each call of this.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub unsafe fn from_raw(value: *const T) -> Self {
        let offset = core::mem::offset_of!(Inner<T>, value);
        let ptr = value
            .wrapping_byte_sub(offset)
            .cast_mut()
            .cast::<Inner<T>>();
        // SAFETY: inside a live block by contract, so not NULL.
        let ptr = unsafe { NonNull::new_unchecked(ptr) };
        Self {
            ptr,
            owns: PhantomData,
        }
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        let before = self.inner().count.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "reference count overflow");
        Self {
            ptr: self.ptr,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.inner().count.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let tag = self.inner().tag;
        // SAFETY: the last reference: nobody else sees the block.
        unsafe { self.ptr.drop_in_place() };
        // SAFETY: the block came from `allocate` with this tag.
        unsafe { release(tag, self.ptr.cast()) };
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: fmt::Debug> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
