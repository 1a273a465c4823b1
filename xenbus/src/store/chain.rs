// SPDX-License-Identifier: BSD-2-Clause
//! A first-in first-out list whose links are inside what is listed: listing needs no memory.
//!
//! An object is in one chain at a time. The chain belongs to the lock around it; any IRQL that the
//! lock allows. Dropping a chain gives its objects back one by one, never by a deep recursion.

use kexec::nt::Arc;

/// What can be chained: an object with room for one link.
pub trait Linked: Sized {
    /// Stores the link.
    fn set_next(&self, next: Arc<Self>);
    /// Takes the link out.
    fn take_next(&self) -> Option<Arc<Self>>;
}

/// The list.
pub struct Chain<T: Linked> {
    head: Option<Arc<T>>,
    tail: Option<Arc<T>>,
}

impl<T: Linked> Chain<T> {
    /// An empty chain.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: None,
            tail: None,
        }
    }

    /// Appends an object that is in no chain.
    pub fn push(&mut self, object: Arc<T>) {
        match self.tail.replace(object.clone()) {
            Some(tail) => tail.set_next(object),
            None => self.head = Some(object),
        }
    }

    /// Puts an object that is in no chain in front of the oldest.
    pub fn push_front(&mut self, object: Arc<T>) {
        match self.head.take() {
            Some(head) => object.set_next(head),
            None => self.tail = Some(object.clone()),
        }
        self.head = Some(object);
    }

    /// Takes the oldest object.
    pub fn pop(&mut self) -> Option<Arc<T>> {
        let head = self.head.take()?;
        self.head = head.take_next();
        if self.head.is_none() {
            self.tail = None;
        }
        Some(head)
    }

    /// The oldest object.
    #[must_use]
    pub fn head(&self) -> Option<&Arc<T>> {
        self.head.as_ref()
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

impl<T: Linked> Default for Chain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> Drop for Chain<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
