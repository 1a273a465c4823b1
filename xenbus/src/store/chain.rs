// SPDX-License-Identifier: BSD-2-Clause
//! A first-in first-out list whose links are inside what is listed: listing needs no memory.
//!
//! An object has a link for each place, a kind of chain, and is in one chain of a place at a time. The chain belongs to the lock around it; any IRQL that the
//! lock allows. Dropping a chain gives its objects back one by one, never by a deep recursion.

use kexec::nt::{Arc, Link};

/// What can be chained: an object with a link for each place.
pub trait Linked: Sized {
    /// The link of a place.
    fn link(&self, place: usize) -> &Link<Self>;
}

/// The list, in one of its objects' places.
pub struct Chain<T: Linked, const PLACE: usize = 0> {
    head: Option<Arc<T>>,
    tail: Option<Arc<T>>,
}

impl<T: Linked, const PLACE: usize> Chain<T, PLACE> {
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
            Some(tail) => drop(tail.link(PLACE).set(object)),
            None => self.head = Some(object),
        }
    }

    /// Puts an object that is in no chain in front of the oldest.
    pub fn push_front(&mut self, object: Arc<T>) {
        match self.head.take() {
            Some(head) => drop(object.link(PLACE).set(head)),
            None => self.tail = Some(object.clone()),
        }
        self.head = Some(object);
    }

    /// Takes the oldest object.
    pub fn pop(&mut self) -> Option<Arc<T>> {
        let head = self.head.take()?;
        self.head = head.link(PLACE).take();
        if self.head.is_none() {
            self.tail = None;
        }
        Some(head)
    }

    /// Appends what is in another chain, in its order.
    #[inline]
    pub fn append(&mut self, mut other: Self) {
        let Some(head) = other.head.take() else {
            return;
        };
        match core::mem::replace(&mut self.tail, other.tail.take()) {
            Some(tail) => drop(tail.link(PLACE).set(head)),
            None => self.head = Some(head),
        }
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

impl<T: Linked, const PLACE: usize> Default for Chain<T, PLACE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked, const PLACE: usize> Drop for Chain<T, PLACE> {
    #[inline]
    fn drop(&mut self) {
        while !self.is_empty() && self.pop().is_some() {}
    }
}
