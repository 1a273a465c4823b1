// SPDX-License-Identifier: BSD-2-Clause
//! Slabs: memory for many objects, and the list of a cache's slabs.
//!
//! Everything here is bookkeeping by address; objects are never touched except to zero what a failed constructor left. A slab is
//! found by its address in a sorted array, the lowest one with a free object by a bit for each slab: taking and giving an object
//! costs the same however many there are, but for the steps of that search. Adding and removing a slab moves the array.

use core::sync::atomic::{AtomicU64, Ordering};

use kexec::nt::{Box, Vec};

use super::{Counts, TAG};
use crate::status::{INVALID_PARAMETER, Result};

const PAGE: u32 = 4096;
/// Most objects in a slab.
const MOST: u32 = 512;
const WORDS: usize = MOST as usize / 64;

/// Sizes of a cache's objects and slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of an object.
    pub stride: u32,
    /// Objects of a slab.
    pub objects: u32,
}

impl Shape {
    /// For objects of `size` bytes: a slab is as many pages as one object needs.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: 0, or more than there can be.
    pub fn of(size: u32) -> Result<Self> {
        let stride = size.checked_next_multiple_of(8).ok_or(INVALID_PARAMETER)?;
        let bytes = stride
            .checked_next_multiple_of(PAGE)
            .ok_or(INVALID_PARAMETER)?;
        if stride == 0 {
            return Err(INVALID_PARAMETER);
        }
        Ok(Self {
            stride,
            objects: (bytes / stride).min(MOST),
        })
    }
}

/// One bit for each object.
#[derive(Clone, Copy, Default)]
struct Bits([u64; WORDS]);

impl Bits {
    fn get(&self, at: u32) -> bool {
        self.0[at as usize / 64] >> (at % 64) & 1 != 0
    }

    fn set(&mut self, at: u32, value: bool) {
        let bit = 1 << (at % 64);
        if value {
            self.0[at as usize / 64] |= bit;
        } else {
            self.0[at as usize / 64] &= !bit;
        }
    }

    /// The first of `count` that is `wanted`, and not in `but`.
    fn first(&self, count: u32, wanted: bool, but: &Self) -> Option<u32> {
        let flip = if wanted { 0 } else { u64::MAX };
        let words = (0..).zip(self.0.iter().zip(but.0));
        let (word, bits) = words
            .map(|(word, (bits, but))| (word, (bits ^ flip) & !but))
            .find(|(_, bits)| *bits != 0)?;
        Some(word * 64 + bits.trailing_zeros()).filter(|&at| at < count)
    }
}

/// Memory of objects.
pub struct Slab {
    memory: Vec<AtomicU64>,
    out: Bits,
    constructed: Bits,
    used: u32,
    /// Constructed and not out.
    idle: u32,
}

impl Slab {
    /// Zeroed memory.
    ///
    /// # Errors
    /// The pool's.
    pub fn try_new(shape: Shape) -> Result<Box<Self>> {
        let words = shape.stride as usize * shape.objects as usize / 8;
        let mut memory = Vec::try_with_capacity(TAG, words)?;
        for _ in 0..words {
            memory.try_push(AtomicU64::new(0))?;
        }
        Box::try_new(
            TAG,
            Self {
                memory,
                out: Bits::default(),
                constructed: Bits::default(),
                used: 0,
                idle: 0,
            },
        )
    }

    fn base(&self) -> usize {
        self.memory.as_ptr().expose_provenance()
    }

    /// Objects that are out.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    fn index(&self, object: usize, shape: Shape) -> Option<u32> {
        let offset = u32::try_from(object.checked_sub(self.base())?).ok()?;
        (offset % shape.stride == 0 && offset / shape.stride < shape.objects)
            .then_some(offset / shape.stride)
    }

    fn object(&self, index: u32, shape: Shape) -> usize {
        self.base() + index as usize * shape.stride as usize
    }

    /// A free object, one that is constructed if there is any.
    fn pick(&self, shape: Shape) -> Option<u32> {
        let none = Bits::default();
        if self.idle != 0 {
            self.constructed.first(shape.objects, true, &self.out)
        } else {
            self.out.first(shape.objects, false, &none)
        }
    }

    fn zero(&self, index: u32, shape: Shape) {
        let words = shape.stride as usize / 8;
        let from = index as usize * words;
        for word in &self.memory[from..from + words] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Calls `f` with every object that is constructed.
    pub fn each_constructed(&self, shape: Shape, mut f: impl FnMut(usize)) {
        for index in 0..shape.objects {
            if self.constructed.get(index) {
                f(self.object(index, shape));
            }
        }
    }
}

/// One bit for each slab, and where to begin to look.
struct Marks {
    words: Vec<u64>,
    /// No word before this one has a bit.
    hint: usize,
}

impl Marks {
    const fn new() -> Self {
        Self {
            words: Vec::new(TAG),
            hint: 0,
        }
    }

    fn set(&mut self, at: usize, value: bool) {
        let (word, bit) = (at / 64, 1 << (at % 64));
        if value {
            self.words[word] |= bit;
            self.hint = self.hint.min(word);
        } else {
            self.words[word] &= !bit;
        }
    }

    fn first(&mut self) -> Option<usize> {
        let words = &self.words[self.hint..];
        let ahead = words.iter().position(|word| *word != 0);
        self.hint += ahead.unwrap_or(words.len());
        let word = self.words.get(self.hint)?;
        Some(self.hint * 64 + word.trailing_zeros() as usize)
    }
}

/// The slabs of a cache, by address.
pub struct Slabs {
    shape: Shape,
    list: Vec<Box<Slab>>,
    /// Slabs with a free object.
    space: Marks,
    /// Slabs with a free object that is constructed.
    idle: Marks,
    objects: u32,
    /// Most objects and slabs.
    most: (u32, u32),
}

impl Slabs {
    pub(super) const fn new(shape: Shape) -> Self {
        Self {
            shape,
            list: Vec::new(TAG),
            space: Marks::new(),
            idle: Marks::new(),
            objects: 0,
            most: (0, 0),
        }
    }

    /// Objects out or in magazines.
    pub(super) fn objects(&self) -> u32 {
        self.objects
    }

    pub(super) fn counts(&self) -> Counts {
        let slabs = self.list.len() as u32;
        Counts {
            capacity: slabs.saturating_mul(self.shape.objects),
            objects: (self.objects, self.most.0),
            slabs: (slabs, self.most.1),
        }
    }

    fn mark(&mut self, at: usize) {
        let slab = self.list.get(at);
        let space = slab.is_some_and(|slab| slab.used < self.shape.objects);
        let idle = slab.is_some_and(|slab| slab.idle != 0);
        self.space.set(at, space);
        self.idle.set(at, idle);
    }

    /// Marks all slabs from `from` on anew, after the array moved.
    fn remark(&mut self, from: usize) {
        // One beyond the end: the place that a removal left.
        let end = (self.list.len() + 1).min(self.space.words.len() * 64);
        for at in from..end {
            self.mark(at);
        }
    }

    /// Adds a slab.
    pub(super) fn insert(&mut self, slab: Box<Slab>) -> Result {
        if self.list.len() == self.idle.words.len() * 64 {
            // Both or none: the second one is what is looked at.
            if self.space.words.len() == self.idle.words.len() {
                self.space.words.try_push(0)?;
            }
            self.idle.words.try_push(0)?;
        }
        let base = slab.base();
        let at = self.list.partition_point(|other| other.base() < base);
        self.list.try_insert(at, slab)?;
        self.most.1 = self.most.1.max(self.list.len() as u32);
        self.remark(at);
        Ok(())
    }

    /// Takes an object, one that is constructed if there is any, and says whether it is. One that is not counts as constructed
    /// from here on, until [`Self::unmake`].
    pub(super) fn take(&mut self) -> Option<(usize, bool)> {
        let idle = self.idle.first();
        let at = idle.or_else(|| self.space.first())?;
        let slab = self.list.get_mut(at)?;
        let index = slab.pick(self.shape)?;
        let constructed = slab.constructed.get(index);
        slab.idle -= u32::from(constructed);
        slab.out.set(index, true);
        slab.constructed.set(index, true);
        slab.used += 1;
        let object = slab.object(index, self.shape);
        self.objects += 1;
        self.most.0 = self.most.0.max(self.objects);
        self.mark(at);
        Some((object, constructed))
    }

    fn find(&self, object: usize) -> Option<(usize, u32)> {
        let at = self
            .list
            .partition_point(|slab| slab.base() <= object)
            .checked_sub(1)?;
        let index = self.list[at].index(object, self.shape)?;
        self.list[at].out.get(index).then_some((at, index))
    }

    /// Takes an object back; false if it is none that is out.
    pub(super) fn put(&mut self, object: usize) -> bool {
        self.put_back(object, true)
    }

    /// Takes an object back that was not constructed after all; its memory is zeroed.
    pub(super) fn unmake(&mut self, object: usize) {
        self.put_back(object, false);
    }

    fn put_back(&mut self, object: usize, constructed: bool) -> bool {
        let Some((at, index)) = self.find(object) else {
            return false;
        };
        let slab = &mut *self.list[at];
        slab.out.set(index, false);
        slab.constructed.set(index, constructed);
        slab.used -= 1;
        slab.idle += u32::from(constructed);
        if !constructed {
            slab.zero(index, self.shape);
        }
        self.objects -= 1;
        self.mark(at);
        true
    }

    /// Removes the highest slab of which no object is out, unless memory for fewer than `floor` objects would be left.
    pub(super) fn remove_empty(&mut self, floor: u32) -> Option<Box<Slab>> {
        let left = self.counts().capacity.checked_sub(self.shape.objects)?;
        if left < floor {
            return None;
        }
        let at = self.list.iter().rposition(|slab| slab.used == 0)?;
        let slab = self.list.remove(at);
        self.remark(at);
        Some(slab)
    }

    /// Removes the highest slab.
    pub(super) fn remove_last(&mut self) -> Option<Box<Slab>> {
        let slab = self.list.pop()?;
        self.objects -= slab.used;
        self.remark(self.list.len());
        Some(slab)
    }
}
