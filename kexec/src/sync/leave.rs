// SPDX-License-Identifier: BSD-2-Clause
//! [`Leave`]: takes a waker out of its slot when a wait is given up.
//!
//! A waker counts as a reference to its task. Left in a slot that lives on, it would keep the block of a cancelled task, and with
//! it the task's executor from stopping.

use crate::atomic::WakerSlot;

/// Empties the slot when dropped, unless the wait is [`done`](Self::done).
pub(crate) struct Leave<'a>(&'a WakerSlot);

impl<'a> Leave<'a> {
    pub(crate) fn new(slot: &'a WakerSlot) -> Self {
        Self(slot)
    }

    /// The wait ended as it should: whoever ended it takes the waker.
    pub(crate) fn done(self) {
        core::mem::forget(self);
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
