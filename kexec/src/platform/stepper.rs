// SPDX-License-Identifier: BSD-2-Clause
//! [`Stepper`]: a deterministic platform. Nothing runs but the step that the test asks for, and its clock moves only when told.
#![expect(unsafe_code, reason = "implements the unsafe trait Platform")]

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::{Platform, heap};
use crate::exec::{Budget, Core, Outcome};

/// One poll at a time, on a clock that stands still.
///
/// # IRQL
/// Any: there is none.
#[derive(Debug, Default)]
pub struct Stepper {
    asked: AtomicBool,
    micros: AtomicU64,
    /// Zero: the first processor, which is runner 1.
    processor: AtomicUsize,
}

impl Stepper {
    /// Whether a run was asked for and not yet made.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Moves the clock on.
    pub fn advance(&self, micros: u64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// What runs from here on runs on processor `index`.
    pub fn processor(&self, index: usize) {
        self.processor.store(index, Ordering::SeqCst);
    }

    /// Makes at most one poll of `core`, whose platform this is, if a run was asked for; false when none was.
    pub fn step(core: &Core<Self>) -> bool {
        if !core.platform().asked.swap(false, Ordering::SeqCst) {
            return false;
        }
        let _: Outcome = core.run(Budget::polls(1));
        true
    }

    /// Steps until no run is asked for, at most `limit` times; the number of steps.
    pub fn settle(core: &Core<Self>, limit: usize) -> usize {
        (0..limit).take_while(|_| Self::step(core)).count()
    }
}

// SAFETY: `heap` aligns to 16; `pend` sets a flag that the test's steps look at; processors are set by the test, and it makes one
// step at a time.
unsafe impl Platform for Stepper {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        heap::allocate(layout)
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by contract from `allocate` with this layout.
        unsafe { heap::free(block, layout) };
    }
    fn pend(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }
    fn runner(&self) -> usize {
        self.processor.load(Ordering::SeqCst) + 1
    }
    fn micros(&self) -> u64 {
        self.micros.load(Ordering::SeqCst)
    }
}
