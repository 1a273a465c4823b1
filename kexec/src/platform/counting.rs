// SPDX-License-Identifier: BSD-2-Clause
//! [`Counting`]: a platform that counts pends, allocations and frees, fails the n-th allocation, and is run by hand.
#![expect(unsafe_code, reason = "implements the unsafe trait Platform")]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Platform, heap};

std::thread_local! {
    static RUNNER: Cell<usize> = const { Cell::new(1) };
}

/// Counts what a core asks for; nothing runs until the test calls `Core::run`.
///
/// # IRQL
/// Any: there is none.
#[derive(Debug, Default)]
pub struct Counting {
    pends: AtomicUsize,
    allocations: AtomicUsize,
    frees: AtomicUsize,
    fail_at: AtomicUsize,
    clock: AtomicUsize,
    tick: AtomicUsize,
}

impl Counting {
    /// Pends since the last call.
    pub fn take_pends(&self) -> usize {
        self.pends.swap(0, Ordering::SeqCst)
    }

    /// Allocations asked for so far.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.allocations.load(Ordering::SeqCst)
    }

    /// Blocks given back so far.
    #[must_use]
    pub fn frees(&self) -> usize {
        self.frees.load(Ordering::SeqCst)
    }

    /// Fails the allocation that makes [`Self::allocations`] `number`; zero fails none.
    pub fn fail_allocation(&self, number: usize) {
        self.fail_at.store(number, Ordering::SeqCst);
    }

    /// Lets the clock go on by `micros` at each look.
    pub fn tick(&self, micros: usize) {
        self.tick.store(micros, Ordering::SeqCst);
    }

    /// Makes this thread the runner `number`, not zero; a thread that never says so is runner 1.
    pub fn run_as(number: usize) {
        RUNNER.with(|runner| runner.set(number));
    }
}

// SAFETY: `heap` aligns to 16; `pend` only counts, and a test runs the core; runners are numbered by the test.
unsafe impl Platform for Counting {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let number = self.allocations.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.fail_at.load(Ordering::SeqCst) {
            return None;
        }
        heap::allocate(layout)
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        self.frees.fetch_add(1, Ordering::SeqCst);
        // SAFETY: by contract from `allocate` with this layout.
        unsafe { heap::free(block, layout) };
    }
    fn pend(&self) {
        self.pends.fetch_add(1, Ordering::SeqCst);
    }
    fn runner(&self) -> usize {
        RUNNER.with(Cell::get)
    }
    fn micros(&self) -> u64 {
        let tick = self.tick.load(Ordering::SeqCst);
        self.clock.fetch_add(tick, Ordering::SeqCst) as u64
    }
}
