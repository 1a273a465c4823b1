// SPDX-License-Identifier: BSD-2-Clause
//! Sets of numbers as disjoint ranges: what RANGE_SET promises.
//!
//! One array of inclusive ranges, highest first, coalesced, under a spin lock. The lowest range is the array's last, so taking
//! numbers one by one and giving the last one back costs the same however many ranges there are; in the middle an insertion or
//! a removal moves what lies below. The array keeps its memory, so a removal makes room for the next insertion.
//!
//! # IRQL
//! <= DISPATCH_LEVEL. Nothing waits, nothing runs, so nothing has to be stopped; dropping a set frees it.

#[cfg(test)]
mod tests;

use core::cmp::Ordering;

use kexec::nt::{SpinLock, Tag, Vec};

use crate::status::{BUFFER_OVERFLOW, INSUFFICIENT_RESOURCES};
use crate::status::{INVALID_PARAMETER, OBJECT_NAME_NOT_FOUND, OBJECTID_EXISTS, Result, no_memory};

/// Pool tag of sets.
pub const TAG: Tag = Tag(*b"XBrs");
/// Longest name, without a terminator.
pub const NAME_LEN: usize = 127;

/// Checks the length of a name.
///
/// # Errors
/// `BUFFER_OVERFLOW`: more than [`NAME_LEN`] characters.
pub fn check_name(name: &[u8]) -> Result {
    if name.len() > NAME_LEN {
        return Err(BUFFER_OVERFLOW);
    }
    Ok(())
}

/// An inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: i64,
    end: i64,
}

impl Range {
    /// `count` numbers from `start` on.
    fn new(start: i64, count: u64) -> Result<Self> {
        let last = count.checked_sub(1).ok_or(INVALID_PARAMETER)?;
        let end = start.checked_add_unsigned(last).ok_or(INVALID_PARAMETER)?;
        Ok(Self { start, end })
    }

    /// One less than the number of numbers, which does not overflow.
    fn last(self) -> u64 {
        self.end.wrapping_sub(self.start).cast_unsigned()
    }

    /// Where a range lies in an array with the highest first, seen from `self`; `Equal` when they overlap.
    fn order(self, other: Self) -> Ordering {
        if other.start > self.end {
            Ordering::Less
        } else if other.end < self.start {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct RangeSet {
    /// Highest first.
    ranges: SpinLock<Vec<Range>>,
}

impl Default for RangeSet {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeSet {
    /// An empty set; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: SpinLock::new(Vec::new(TAG)),
        }
    }

    /// Adds `count` numbers from `start` on.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: none, or beyond the largest number. `OBJECTID_EXISTS`: one of them is present. `NO_MEMORY`. The set
    /// is unchanged then.
    pub fn put(&self, start: i64, count: u64) -> Result {
        let mut new = Range::new(start, count)?;
        let mut ranges = self.ranges.lock();
        let Err(at) = ranges.binary_search_by(|range| new.order(*range)) else {
            return Err(OBJECTID_EXISTS);
        };
        // `at` is the place; the neighbour before it lies above, the one at it below.
        let above = at
            .checked_sub(1)
            .filter(|&above| new.end.checked_add(1) == Some(ranges[above].start));
        let below = Some(at).filter(|&below| {
            ranges
                .get(below)
                .is_some_and(|r| r.end.checked_add(1) == Some(start))
        });
        if let Some(below) = below {
            new.start = ranges[below].start;
        }
        match (above, below) {
            (Some(above), Some(below)) => {
                ranges[above].start = new.start;
                ranges.remove(below);
            }
            (Some(above), None) => ranges[above].start = new.start,
            (None, Some(below)) => ranges[below].end = new.end,
            (None, None) => ranges.try_insert(at, new).map_err(no_memory)?,
        }
        Ok(())
    }

    /// Takes the lowest `count` numbers of the lowest range that has as many; the first of them.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: none. `INSUFFICIENT_RESOURCES`: no range has as many.
    pub fn pop(&self, count: u64) -> Result<i64> {
        let last = count.checked_sub(1).ok_or(INVALID_PARAMETER)?;
        let mut ranges = self.ranges.lock();
        let at = ranges
            .iter()
            .rposition(|range| range.last() >= last)
            .ok_or(INSUFFICIENT_RESOURCES)?;
        let range = ranges[at];
        if range.last() == last {
            ranges.remove(at);
        } else {
            // Shorter than the range, so within it.
            ranges[at].start = range.start.wrapping_add_unsigned(count);
        }
        Ok(range.start)
    }

    /// Takes exactly `count` numbers from `start` on.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: none, or beyond the largest number. `OBJECT_NAME_NOT_FOUND`: not all of them are present.
    /// `NO_MEMORY`: the range has to be split. The set is unchanged then.
    pub fn get(&self, start: i64, count: u64) -> Result {
        let wanted = Range::new(start, count)?;
        let mut ranges = self.ranges.lock();
        let at = ranges
            .binary_search_by(|range| wanted.order(*range))
            .map_err(|_| OBJECT_NAME_NOT_FOUND)?;
        let range = ranges[at];
        if range.start > wanted.start || range.end < wanted.end {
            return Err(OBJECT_NAME_NOT_FOUND);
        }
        match (range.start < wanted.start, range.end > wanted.end) {
            (false, false) => drop(ranges.remove(at)),
            (true, false) => ranges[at].end = wanted.start.wrapping_sub(1),
            (false, true) => ranges[at].start = wanted.end.wrapping_add(1),
            (true, true) => {
                let upper = Range {
                    start: wanted.end.wrapping_add(1),
                    end: range.end,
                };
                ranges.try_insert(at, upper).map_err(no_memory)?;
                ranges[at + 1].end = wanted.start.wrapping_sub(1);
            }
        }
        Ok(())
    }

    /// How many ranges there are.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.ranges.lock().len()
    }

    /// Range number `index` from the lowest on, first and last number: for dumps.
    #[must_use]
    pub fn range(&self, index: usize) -> Option<(i64, i64)> {
        let ranges = self.ranges.lock();
        let at = ranges.len().checked_sub(index)?.checked_sub(1)?;
        Some((ranges[at].start, ranges[at].end))
    }
}
