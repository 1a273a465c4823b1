// SPDX-License-Identifier: BSD-2-Clause
//! [`Vec`]: a growable array in pool.
#![expect(
    unsafe_code,
    reason = "owns a raw pool block of partly initialised elements"
)]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::{Tag, allocate, release};
use crate::{Result, Status};

/// A growable array in non-paged pool; empty ones own no memory.
///
/// # Invariants
/// `capacity` is zero, or `ptr` is a live block from `allocate` with `tag` for `capacity` elements, the first `len` initialised.
///
/// # IRQL
/// Reading: any. Growing and dropping: <= DISPATCH_LEVEL.
pub struct Vec<T> {
    ptr: NonNull<T>,
    len: usize,
    capacity: usize,
    tag: Tag,
    owns: PhantomData<T>,
}

// SAFETY: owns its elements.
unsafe impl<T: Send> Send for Vec<T> {}
// SAFETY: gives out `&T` only through `&self`.
unsafe impl<T: Sync> Sync for Vec<T> {}

impl<T> Vec<T> {
    /// An empty array; allocates nothing.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(tag: Tag) -> Self {
        Self {
            ptr: NonNull::dangling(),
            len: 0,
            capacity: 0,
            tag,
            owns: PhantomData,
        }
    }

    /// An empty array with room for `count` elements.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_with_capacity(tag: Tag, count: usize) -> Result<Self> {
        let mut array = Self::new(tag);
        array.try_reserve(count)?;
        Ok(array)
    }

    /// Makes room for `more` further elements.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_reserve(&mut self, more: usize) -> Result {
        let need = self.len.checked_add(more).ok_or(Status::INTEGER_OVERFLOW)?;
        if need <= self.capacity || size_of::<T>() == 0 {
            return Ok(());
        }
        let capacity = need.max(self.capacity.saturating_mul(2)).max(4);
        let layout = Layout::array::<T>(capacity).map_err(|_| Status::INTEGER_OVERFLOW)?;
        let fresh = allocate(self.tag, layout)?.cast::<T>();
        // SAFETY: `len` initialised elements move to the new block, which has room for them and does not overlap.
        unsafe { core::ptr::copy_nonoverlapping(self.ptr.as_ptr(), fresh.as_ptr(), self.len) };
        self.free();
        self.ptr = fresh;
        self.capacity = capacity;
        Ok(())
    }

    fn free(&mut self) {
        if self.capacity != 0 {
            // SAFETY: a block of ours; its elements have been moved out or dropped.
            unsafe { release(self.tag, self.ptr.cast()) };
            self.capacity = 0;
        }
    }

    /// Appends `value`; on failure it is dropped.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_push(&mut self, value: T) -> Result {
        self.try_reserve(1)?;
        // SAFETY: room for one more was made.
        let slot = unsafe { self.ptr.add(self.len) };
        // SAFETY: inside the block, not initialised.
        unsafe { slot.write(value) };
        self.len += 1;
        Ok(())
    }

    /// Puts `value` before index `at`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_insert(&mut self, at: usize, value: T) -> Result {
        self.try_push(value)?;
        self[at..].rotate_right(1);
        Ok(())
    }

    /// Appends copies of `values`, all at once or, on failure, none.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_extend_from_slice(&mut self, values: &[T]) -> Result
    where
        T: Copy,
    {
        self.try_reserve(values.len())?;
        // SAFETY: the first place that is free: within the block or at its end; of an array without a block, the pointer itself.
        let end = unsafe { self.ptr.add(self.len) };
        // SAFETY: room for `values.len()` more was made; the block is ours alone, so `values` is not in it.
        unsafe { core::ptr::copy_nonoverlapping(values.as_ptr(), end.as_ptr(), values.len()) };
        self.len += values.len();
        Ok(())
    }

    /// Grows with clones of `value`, or shrinks, to `len` elements.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_resize(&mut self, len: usize, value: T) -> Result
    where
        T: Clone,
    {
        self.truncate(len);
        self.try_reserve(len - self.len)?;
        while self.len < len {
            self.try_push(value.clone())?;
        }
        Ok(())
    }

    /// Removes and returns the last element.
    ///
    /// # IRQL
    /// Any.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: was initialised, and is outside the array now.
        let slot = unsafe { self.ptr.add(self.len) };
        // SAFETY: as above: moved out exactly once.
        Some(unsafe { slot.read() })
    }

    /// Removes and returns the element at `at`, keeping the order of the rest. Panics when out of range.
    ///
    /// # IRQL
    /// Any.
    pub fn remove(&mut self, at: usize) -> T {
        self[at..].rotate_left(1);
        self.pop().expect("the range was checked by the slice")
    }

    /// Removes and returns the element at `at`, putting the last one in its place. Panics when out of range.
    ///
    /// # IRQL
    /// Any.
    pub fn swap_remove(&mut self, at: usize) -> T {
        let last = self.len - 1;
        self.swap(at, last);
        self.pop().expect("swap checked the range")
    }

    /// Drops elements from `len` on.
    ///
    /// # IRQL
    /// Any; what drops a value, that of its drop.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            drop(self.pop());
        }
    }

    /// Drops all elements; keeps the memory.
    ///
    /// # IRQL
    /// Any; what drops a value, that of its drop.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the elements for which `keep` is true, in order.
    ///
    /// # IRQL
    /// Any; what drops a value, that of its drop.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if keep(&self[index]) {
                self.swap(kept, index);
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// Elements that fit without growing.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The tag blocks are allocated under.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// A copy under the same tag.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_clone(&self) -> Result<Self>
    where
        T: Copy,
    {
        let mut copy = Self::new(self.tag);
        copy.try_extend_from_slice(self)?;
        Ok(copy)
    }
}

impl<T> Drop for Vec<T> {
    fn drop(&mut self) {
        self.clear();
        self.free();
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements; dangling but aligned when there is no block and `len` is zero.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Vec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, exclusive through `&mut self`.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Vec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: PartialEq> PartialEq for Vec<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Owning iterator of a [`Vec`], in order.
///
/// # IRQL
/// <= DISPATCH_LEVEL (drop frees).
#[derive(Debug)]
pub struct IntoIter<T>(Vec<T>);

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(mut self) -> IntoIter<T> {
        self.reverse();
        IntoIter(self)
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.pop()
    }
}
