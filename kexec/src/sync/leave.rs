// SPDX-License-Identifier: BSD-2-Clause
//! [`Leave`]: takes a waker out of where it waits when the wait is given up.
//!
//! A waker counts as a reference to its task. Left in what lives on, it would keep the block of a cancelled task, and with
//! it the task's executor from stopping.

/// Calls what takes the waker out when dropped, unless the wait is [`done`](Self::done).
pub(crate) struct Leave<F: FnMut()>(F);

impl<F: FnMut()> Leave<F> {
    pub(crate) fn new(take: F) -> Self {
        Self(take)
    }

    /// The wait ended as it should: whoever ended it takes the waker.
    pub(crate) fn done(self) {
        core::mem::forget(self);
    }
}

impl<F: FnMut()> Drop for Leave<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
