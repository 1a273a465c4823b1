// SPDX-License-Identifier: BSD-2-Clause
//! [`Link`]: a place for one [`Arc`], filled and emptied through a shared reference without a lock.
#![expect(unsafe_code, reason = "keeps a reference as a raw pointer")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::Arc;

/// What blocks that are in a list keep of each other.
///
/// # Invariants
/// `ptr` is NULL, or what [`Arc::into_raw`] gave for a reference that is kept here.
///
/// # IRQL
/// Use: any. Dropping it full, or the reference taken out: as dropping an [`Arc`].
pub struct Link<T> {
    ptr: AtomicPtr<T>,
    owns: PhantomData<Option<Arc<T>>>,
}

// SAFETY: as an `Option<Arc<T>>` behind an exchange.
unsafe impl<T: Send + Sync> Send for Link<T> {}
// SAFETY: as above: whoever takes the reference is the only one who has it.
unsafe impl<T: Send + Sync> Sync for Link<T> {}

impl<T> Link<T> {
    /// An empty one.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ptr: AtomicPtr::new(null_mut()),
            owns: PhantomData,
        }
    }

    /// Puts a reference in; what was there comes out.
    ///
    /// # IRQL
    /// Any.
    pub fn set(&self, value: Arc<T>) -> Option<Arc<T>> {
        self.exchange(Arc::into_raw(value).cast_mut())
    }

    /// Takes the reference out.
    ///
    /// # IRQL
    /// Any.
    pub fn take(&self) -> Option<Arc<T>> {
        self.exchange(null_mut())
    }

    fn exchange(&self, new: *mut T) -> Option<Arc<T>> {
        let old = self.ptr.swap(new, Ordering::AcqRel);
        // SAFETY: by the invariant, and the exchange hands a reference to one caller.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nt::Tag;

    const TAG: Tag = Tag(*b"Link");

    #[test]
    fn a_link_owns_what_was_put_there_until_it_is_taken() {
        let value = Arc::try_new(TAG, 7).expect("memory");
        let link = Link::new();
        assert!(link.set(value.clone()).is_none());
        assert_eq!(Arc::count(&value), 2);
        let other = Arc::try_new(TAG, 8).expect("memory");
        let old = link.set(other.clone()).expect("the first");
        assert!(Arc::ptr_eq(&old, &value));
        drop(old);
        assert_eq!((Arc::count(&value), Arc::count(&other)), (1, 2));
        assert!(Arc::ptr_eq(&link.take().expect("the second"), &other));
        assert!(link.take().is_none());
    }

    #[test]
    fn a_dropped_link_gives_its_reference_back() {
        let value = Arc::try_new(TAG, ()).expect("memory");
        let link = Link::new();
        assert!(link.set(value.clone()).is_none());
        drop(link);
        assert_eq!(Arc::count(&value), 1);
    }
}
