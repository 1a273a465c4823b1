// SPDX-License-Identifier: BSD-2-Clause
//! Sets of numbers that are given out and come back, such as identifiers of requests.
//!
//! ```no_run
//! # use kexec::{Passive, Result, nt::wdm::DevicePtr};
//! # fn run(below: DevicePtr, passive: Passive) -> Result {
//! use xenbus_interface::client::RangeSets;
//!
//! let sets = RangeSets::open(below, passive)?;
//! let identifiers = sets.create(c"identifiers")?;
//! identifiers.put(1, 1023)?;
//! let four = identifiers.pop(4)?;
//! assert_eq!(four.numbers().start(), &1);
//! // Back in the set.
//! drop(four);
//! # Ok(())
//! # }
//! ```
//!
//! # IRQL
//! <= DISPATCH_LEVEL.

use core::ffi::CStr;
use core::ops::RangeInclusive;

use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result, error};

use crate::ffi::query::query;
use crate::ffi::range_set::{RawSet, Service};
use crate::range_set::RangeSetV1;

/// A reference to the bus driver's range sets.
#[derive(Debug)]
pub struct RangeSets(Service);

impl RangeSets {
    /// Asks the device below and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<RangeSetV1>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(table)
        }
    }

    /// Takes a reference to a service whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(table: RangeSetV1) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Makes an empty set.
    ///
    /// # Errors
    /// `BUFFER_OVERFLOW`: the name has more than 127 characters. `NO_MEMORY`.
    pub fn create(&self, name: &CStr) -> Result<RangeSet<'_>> {
        let set = self.0.create(name)?;
        Ok(RangeSet {
            service: &self.0,
            set,
        })
    }
}

/// A set of numbers, kept as disjoint ranges. What is in it when it is dropped is taken out first, as the interface wants.
#[derive(Debug)]
pub struct RangeSet<'a> {
    service: &'a Service,
    set: RawSet,
}

impl RangeSet<'_> {
    /// Adds `count` numbers from `start` on, none of which is in the set.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for none at all; the bus's for one that is in the set already; `NO_MEMORY`.
    pub fn put(&self, start: i64, count: u64) -> Result {
        self.service.put(&self.set, start, count)
    }

    /// Takes `count` numbers in a row, the lowest of the first range that has as many.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`: no range is long enough. `INVALID_PARAMETER` for a count of 0.
    pub fn pop(&self, count: u64) -> Result<Taken<'_>> {
        let start = self.service.pop(&self.set, count)?;
        Ok(self.taken(start, count))
    }

    /// Takes exactly these numbers.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for none at all; the bus's when one of them is not in the set; `NO_MEMORY`: a range would have to be
    /// split.
    pub fn take(&self, start: i64, count: u64) -> Result<Taken<'_>> {
        self.service.get(&self.set, start, count)?;
        Ok(self.taken(start, count))
    }

    fn taken(&self, start: i64, count: u64) -> Taken<'_> {
        Taken {
            set: self,
            start,
            count,
        }
    }
}

impl Drop for RangeSet<'_> {
    fn drop(&mut self) {
        // At most 64 steps for each range in it.
        for count in (0..u64::BITS).rev().map(|bit| 1 << bit) {
            while self.service.pop(&self.set, count).is_ok() {}
        }
        self.service.destroy(&self.set);
    }
}

/// Numbers taken from a set. Dropping it puts them back; a set that has no memory for them loses them, and a line says so.
#[must_use = "numbers go back when they are dropped"]
#[derive(Debug)]
pub struct Taken<'a> {
    set: &'a RangeSet<'a>,
    start: i64,
    /// 0 once they have another owner.
    count: u64,
}

impl Taken<'_> {
    /// Which they are.
    #[must_use]
    pub fn numbers(&self) -> RangeInclusive<i64> {
        let last = self.start.wrapping_add_unsigned(self.count - 1);
        self.start..=last
    }

    /// Leaves them out of the set: whoever has them puts them back with [`RangeSet::put`].
    pub fn keep(mut self) -> RangeInclusive<i64> {
        let numbers = self.numbers();
        self.count = 0;
        numbers
    }

    /// Puts them back.
    ///
    /// # Errors
    /// `NO_MEMORY`, and the numbers.
    pub fn give_back(mut self) -> core::result::Result<(), (Self, kexec::Status)> {
        match self.set.put(self.start, self.count) {
            Ok(()) => {
                self.count = 0;
                Ok(())
            }
            Err(status) => Err((self, status)),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        if let Err(status) = self.set.put(self.start, self.count) {
            let numbers = self.numbers();
            error!("range_set: {numbers:?} are lost, {status}");
        }
    }
}
