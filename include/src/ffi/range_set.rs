// SPDX-License-Identifier: BSD-2-Clause
//! Range sets over [`RangeSetV1`].

use core::ffi::CStr;
use core::ptr::{self, NonNull};

use kexec::{Result, Status};

use super::reference::Reference;
use crate::range_set::{RangeSet, RangeSetV1};

/// A reference to the range sets.
pub(crate) type Service = Reference<RangeSetV1>;

/// A set of a service.
///
/// # Invariants
/// A live handle of the service that every method gets as well.
#[derive(Debug)]
pub(crate) struct RawSet(NonNull<RangeSet>);

// SAFETY: a handle; the methods may be called on any processor.
unsafe impl Send for RawSet {}
// SAFETY: as above.
unsafe impl Sync for RawSet {}

impl Service {
    pub(crate) fn create(&self, name: &CStr) -> Result<RawSet> {
        let mut set = ptr::null_mut();
        // SAFETY: a reference is held; the name ends in NUL and is only read; the result is a local.
        let status = unsafe { (self.table().create)(self.this(), name.as_ptr(), &raw mut set) };
        Status::check(status)?;
        NonNull::new(set).map(RawSet).ok_or(Status::UNSUCCESSFUL)
    }

    pub(crate) fn put(&self, set: &RawSet, start: i64, count: u64) -> Result {
        // SAFETY: a reference is held, and the set is live.
        let status = unsafe { (self.table().put)(self.this(), set.0.as_ptr(), start, count) };
        Status::check(status)
    }

    pub(crate) fn pop(&self, set: &RawSet, count: u64) -> Result<i64> {
        let mut start = 0;
        // SAFETY: a reference is held, and the set is live; the result is a local.
        let status =
            unsafe { (self.table().pop)(self.this(), set.0.as_ptr(), count, &raw mut start) };
        Status::check(status)?;
        Ok(start)
    }

    pub(crate) fn get(&self, set: &RawSet, start: i64, count: u64) -> Result {
        // SAFETY: a reference is held, and the set is live.
        let status = unsafe { (self.table().get)(self.this(), set.0.as_ptr(), start, count) };
        Status::check(status)
    }

    /// Ends the set, which is not used again.
    pub(crate) fn destroy(&self, set: &RawSet) {
        // SAFETY: a reference is held, and the handle is live; its owner calls this once, in its drop.
        unsafe { (self.table().destroy)(self.this(), set.0.as_ptr()) };
    }
}
