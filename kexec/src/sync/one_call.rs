// SPDX-License-Identifier: BSD-2-Clause
//! [`OneCall`]: a call that is made once, unless it is called off before.

use core::fmt;

use crate::atomic::{AtomicU32, Ordering};
use crate::nt::sys;

const DUE: u32 = 0;
const RUNNING: u32 = 1;
const OVER: u32 = 2;

/// Whether a call was made: the way to take a callback back from whoever is about to make it.
///
/// ```text
///           1 make            2 make
///     Due ----------> Running -------> Over
///      |  3 call_off                    ^
///      +--------------------------------+
/// ```
///
/// # IRQL
/// As said at each method.
pub struct OneCall {
    state: AtomicU32,
}

impl OneCall {
    /// A call that is due.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(DUE),
        }
    }

    /// Makes the call, unless that was done or it was called off.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL: nobody who waits for the end of the call keeps its processor from it.
    pub fn make(&self, call: impl FnOnce()) {
        let due = self
            .state
            .compare_exchange(DUE, RUNNING, Ordering::Acquire, Ordering::Relaxed);
        if due.is_ok() {
            call();
            self.state.store(OVER, Ordering::Release);
        }
    }

    /// Calls it off: once this returns the call is not running and never will be. True when it had not begun; waits for its end on
    /// another processor otherwise. Not from inside the call.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn call_off(&self) -> bool {
        let due = self
            .state
            .compare_exchange(DUE, OVER, Ordering::Acquire, Ordering::Acquire);
        if due == Err(RUNNING) {
            while self.state.load(Ordering::Acquire) != OVER {
                sys::cpu_relax();
            }
        }
        due.is_ok()
    }
}

impl Default for OneCall {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OneCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneCall")
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn a_call_is_made_once() {
        let (call, mut made) = (OneCall::new(), 0);
        call.make(|| made += 1);
        call.make(|| made += 1);
        assert_eq!(made, 1);
        assert!(!call.call_off());
    }

    #[test]
    fn a_call_that_is_called_off_is_never_made() {
        let call = OneCall::new();
        assert!(call.call_off());
        call.make(|| panic!("called off"));
        assert!(!call.call_off(), "once");
    }

    #[test]
    fn calling_off_waits_for_a_call_that_runs() {
        let (call, begun, ended) = (OneCall::new(), Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                call.make(|| {
                    begun.wait();
                    for _ in 0..1000 {
                        thread::yield_now();
                    }
                    ended.store(true, Ordering::Relaxed);
                });
            });
            begun.wait();
            assert!(!call.call_off());
            assert!(ended.load(Ordering::Relaxed));
        });
    }
}
