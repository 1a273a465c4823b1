// SPDX-License-Identifier: BSD-2-Clause
//! [`Heap`]: entries by deadline, in no memory but their own.
//!
//! A binary heap as a tree of pointers that is always complete: the entry at position `n`, counted from 1 level by level, is
//! found by the binary digits of `n`. Inserting and removing take at most one step a level, in the worst case as well, and looking
//! at the first is constant: what runs at DISPATCH_LEVEL under a lock must not depend on luck. Of equal deadlines the one inserted
//! first comes first. Everything happens under the owner's lock.
#![expect(unsafe_code, reason = "an intrusive tree of pinned entries")]

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::Instant;

/// Something with a deadline.
pub(crate) struct Entry<T> {
    deadline: Cell<Instant>,
    /// Number of the insertion: breaks ties.
    order: Cell<u64>,
    parent: Cell<Option<Ref<T>>>,
    left: Cell<Option<Ref<T>>>,
    right: Cell<Option<Ref<T>>>,
    queued: Cell<bool>,
    pub(crate) value: T,
    _pinned: PhantomPinned,
}

impl<T> Entry<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            deadline: Cell::new(Instant::NEVER),
            order: Cell::new(0),
            parent: Cell::new(None),
            left: Cell::new(None),
            right: Cell::new(None),
            queued: Cell::new(false),
            value,
            _pinned: PhantomPinned,
        }
    }

    /// Meaningful while it is queued.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.queued.get()
    }

    fn key(&self) -> (Instant, u64) {
        (self.deadline.get(), self.order.get())
    }
}

/// An entry of a heap.
///
/// # Invariants
/// The entry is alive: [`Heap::insert`] asks for that while it is queued, and no other entry leads to one that is not.
struct Ref<T>(NonNull<Entry<T>>);

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<T> {}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Deref for Ref<T> {
    type Target = Entry<T>;
    fn deref(&self) -> &Entry<T> {
        // SAFETY: alive by the invariant, and shared only: its fields are cells.
        unsafe { self.0.as_ref() }
    }
}

/// The entries, soonest first.
pub(crate) struct Heap<T> {
    root: Option<Ref<T>>,
    count: usize,
    inserted: u64,
}

impl<T> Heap<T> {
    pub(crate) const fn new() -> Self {
        Self {
            root: None,
            count: 0,
            inserted: 0,
        }
    }

    /// The entry with the soonest deadline.
    pub(crate) fn first(&self) -> Option<&Entry<T>> {
        // SAFETY: alive while it is queued, and it stays that while the heap is borrowed.
        self.root.as_ref().map(|root| unsafe { root.0.as_ref() })
    }

    /// # Safety
    /// `entry` is in no heap; it stays where it is, and is used under the heap's lock only, until it is removed.
    pub(crate) unsafe fn insert(&mut self, entry: NonNull<Entry<T>>, deadline: Instant) {
        // INVARIANT: alive by contract.
        let entry = Ref(entry);
        entry.deadline.set(deadline);
        entry.order.set(self.inserted);
        entry.queued.set(true);
        self.inserted += 1;
        self.count += 1;
        match self.at(self.count / 2) {
            None => self.root = Some(entry),
            Some(parent) => {
                entry.parent.set(Some(parent));
                let side = if self.count.is_multiple_of(2) {
                    &parent.left
                } else {
                    &parent.right
                };
                side.set(Some(entry));
                self.rise(entry);
            }
        }
    }

    /// Takes the first out.
    pub(crate) fn remove_first(&mut self) {
        if let Some(root) = self.root {
            // SAFETY: the root is in this heap.
            unsafe { self.remove(&root) };
        }
    }

    /// Takes `entry` out if it is queued.
    ///
    /// # Safety
    /// `entry` is in this heap, or in none.
    pub(crate) unsafe fn remove(&mut self, entry: &Entry<T>) {
        if !entry.queued.replace(false) {
            return;
        }
        let Some(last) = self.at(self.count) else {
            return;
        };
        self.count -= 1;
        self.replace(last, None);
        if !core::ptr::eq(last.0.as_ptr(), entry) {
            // The last entry takes the place that becomes free. Its own was a leaf.
            for (side, child) in [
                (&last.left, entry.left.get()),
                (&last.right, entry.right.get()),
            ] {
                side.set(child);
                if let Some(child) = child {
                    child.parent.set(Some(last));
                }
            }
            // INVARIANT: `entry` is borrowed and was queued until here.
            self.replace(Ref(NonNull::from(entry)), Some(last));
            self.rise(last);
            self.sink(last);
        }
        entry.parent.set(None);
        entry.left.set(None);
        entry.right.set(None);
    }

    /// The entry at `position`, counted from 1; none at 0.
    fn at(&self, position: usize) -> Option<Ref<T>> {
        let levels = position.checked_ilog2()?;
        (0..levels).rev().try_fold(self.root?, |entry, level| {
            if position >> level & 1 == 0 {
                entry.left.get()
            } else {
                entry.right.get()
            }
        })
    }

    /// Makes what led to `old` from above lead to `new`.
    fn replace(&mut self, old: Ref<T>, new: Option<Ref<T>>) {
        let parent = old.parent.get();
        match parent {
            None => self.root = new,
            Some(parent) if parent.left.get() == Some(old) => parent.left.set(new),
            Some(parent) => parent.right.set(new),
        }
        if let Some(new) = new {
            new.parent.set(parent);
        }
    }

    /// Swaps `child` with its parent.
    fn lift(&mut self, child: Ref<T>, parent: Ref<T>) {
        let (left, right) = (child.left.get(), child.right.get());
        self.replace(parent, Some(child));
        if parent.left.get() == Some(child) {
            child.left.set(Some(parent));
            child.right.set(parent.right.get());
        } else {
            child.left.set(parent.left.get());
            child.right.set(Some(parent));
        }
        parent.left.set(left);
        parent.right.set(right);
        for (above, below) in [
            (child, child.left.get()),
            (child, child.right.get()),
            (parent, left),
            (parent, right),
        ] {
            if let Some(below) = below {
                below.parent.set(Some(above));
            }
        }
    }

    /// Lifts `entry` to where it belongs.
    fn rise(&mut self, entry: Ref<T>) {
        while let Some(parent) = entry.parent.get() {
            if parent.key() <= entry.key() {
                return;
            }
            self.lift(entry, parent);
        }
    }

    /// Lets `entry` sink to where it belongs.
    fn sink(&mut self, entry: Ref<T>) {
        while let Some(left) = entry.left.get() {
            let soonest = match entry.right.get() {
                Some(right) if right.key() < left.key() => right,
                _ => left,
            };
            if entry.key() <= soonest.key() {
                return;
            }
            self.lift(soonest, entry);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::boxed::Box;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        /// Removes one of those that are queued, the n-th modulo their number.
        Remove(usize),
        RemoveFirst,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..50_u64).prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Remove),
            1 => Just(Step::RemoveFirst),
        ];
        proptest::collection::vec(step, 0..200)
    }

    /// Every entry comes after its parent and is where its position says; the links up and down agree.
    fn check(heap: &Heap<usize>) {
        assert_eq!(heap.root.is_none(), heap.count == 0);
        for position in 1..=heap.count {
            let entry = heap.at(position).expect("complete");
            assert!(
                entry.parent.get() == heap.at(position / 2),
                "parent of {position}"
            );
            if let Some(parent) = entry.parent.get() {
                assert!(parent.key() < entry.key(), "order at {position}");
            }
            for (child, side) in [
                (2 * position, &entry.left),
                (2 * position + 1, &entry.right),
            ] {
                assert_eq!(side.get().is_some(), child <= heap.count, "child {child}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_heap_does_what_a_sorted_map_does(steps in steps()) {
            let mut heap = Heap::new();
            let mut model = BTreeMap::new();
            let mut entries = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                let gone = match step {
                    Step::Insert(ticks) => {
                        let deadline = Instant::from_ticks(ticks);
                        model.insert((deadline, number), entries.len());
                        entries.push(Box::new(Entry::new(number)));
                        let entry = NonNull::from(&**entries.last().expect("just pushed"));
                        // SAFETY: boxed, kept to the end, in no heap yet.
                        unsafe { heap.insert(entry, deadline) };
                        None
                    }
                    Step::Remove(which) if !model.is_empty() => {
                        model.keys().nth(which % model.len()).copied()
                    }
                    Step::Remove(_) => None,
                    Step::RemoveFirst => model.keys().next().copied(),
                };
                if let Some(index) = gone.and_then(|key| model.remove(&key)) {
                    let entry = &*entries[index];
                    // SAFETY: in this heap.
                    unsafe { heap.remove(entry) };
                    prop_assert!(!entry.is_queued());
                }
                let first = heap.first().map(|entry| (entry.deadline(), entry.value));
                prop_assert_eq!(first, model.keys().next().copied());
                check(&heap);
            }
            while let Some(value) = heap.first().map(|entry| entry.value) {
                prop_assert_eq!(model.pop_first().map(|(key, _)| key.1), Some(value));
                heap.remove_first();
            }
            prop_assert!(model.is_empty());
        }
    }

    #[test]
    fn removing_what_is_not_queued_changes_nothing() {
        let mut heap = Heap::new();
        let (queued, other) = (Box::new(Entry::new(0)), Entry::new(1));
        // SAFETY: boxed, and outlives the heap's use.
        unsafe { heap.insert(NonNull::from(&*queued), Instant::from_ticks(5)) };
        // SAFETY: in no heap.
        unsafe { heap.remove(&other) };
        assert_eq!(
            heap.first().map(Entry::deadline),
            Some(Instant::from_ticks(5))
        );
    }
}
