// SPDX-License-Identifier: BSD-2-Clause
//! [`WakerSlot`]: where a waiter leaves its waker.
//!
//! The slot of the atomic-waker crate has a moment in which a waker is being taken out. Who registers in it does not wait: it wakes
//! itself and looks again, until the taker has gone on. A taker on another processor does; one that was interrupted by the very DPC
//! that polls the task does not, and that DPC is then queued for ever. So a waker is taken at DISPATCH_LEVEL or above: neither a DPC
//! nor another thread comes in between. An interrupt may: it registers nowhere.

use core::fmt;
use core::task::Waker;

use crate::irql::Raised;

/// Room for the waker of one waiter, and the way to wake it.
///
/// A second waiter takes the place of the first, which then sleeps on. A waker that is left here keeps its task.
///
/// # IRQL
/// As said at each method.
#[derive(Default)]
pub struct WakerSlot(atomic_waker::AtomicWaker);

impl WakerSlot {
    /// An empty slot.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self(atomic_waker::AtomicWaker::new())
    }

    /// Leaves `waker` here; a [`wake`](Self::wake) that comes meanwhile wakes it at once. Look again afterwards at what is waited for.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn register(&self, waker: &Waker) {
        self.0.register(waker);
    }

    /// Takes the waker and wakes it, if there is one.
    ///
    /// # IRQL
    /// Any, when it is a kexec task's.
    pub fn wake(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    /// Takes the waker.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn take(&self) -> Option<Waker> {
        let _raised = Raised::at_least_dispatch();
        self.0.take()
    }
}

impl fmt::Debug for WakerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakerSlot")
    }
}
