// SPDX-License-Identifier: BSD-2-Clause
//! [`Threads`]: a platform of host threads. A pend sets a flag under a mutex and notifies a condition variable; a thread that waits
//! for it runs the core.
#![expect(unsafe_code, reason = "implements the unsafe trait Platform")]

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::{Platform, heap};
use crate::exec::{Budget, Core, Outcome};

std::thread_local! {
    static SELF: u8 = const { 0 };
}

/// What threads wait for.
#[derive(Debug, Default)]
struct Asked {
    run: bool,
    end: bool,
}

/// Host threads, and a clock that starts with the value.
///
/// # IRQL
/// Any: there is none.
#[derive(Debug)]
pub struct Threads {
    asked: Mutex<Asked>,
    changed: Condvar,
    start: Instant,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            changed: Condvar::new(),
            start: Instant::now(),
        }
    }
}

impl Threads {
    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Whether a run was asked for since the last call; for a thread that does not wait.
    pub fn take_pend(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut asked.run)
    }

    /// Runs `core`, whose platform this is, on the calling thread whenever a run is asked for, until [`Self::end`].
    pub fn serve(core: &Core<Self>, budget: Budget) {
        let this = core.platform();
        loop {
            let mut asked = this.asked.lock().unwrap_or_else(PoisonError::into_inner);
            while !asked.run && !asked.end {
                asked = this
                    .changed
                    .wait(asked)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !core::mem::take(&mut asked.run) {
                return;
            }
            drop(asked);
            // Busy: an inline drive has it; that run sees what was pushed.
            let _: Outcome = core.run(budget);
        }
    }

    /// Lets the thread in [`Self::serve`] return once nothing is asked for.
    pub fn end(&self) {
        self.ask(|asked| asked.end = true);
    }
}

// SAFETY: `heap` aligns to 16; `pend` leads to a run by the thread that serves or looks; the address of a thread's own variable is
// its alone. The mutex is held for one store.
unsafe impl Platform for Threads {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        heap::allocate(layout)
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by contract from `allocate` with this layout.
        unsafe { heap::free(block, layout) };
    }
    fn pend(&self) {
        self.ask(|asked| asked.run = true);
    }
    fn runner(&self) -> usize {
        SELF.with(|here| core::ptr::from_ref(here).addr())
    }
    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
    fn relax(&self) {
        std::thread::yield_now();
    }
}
