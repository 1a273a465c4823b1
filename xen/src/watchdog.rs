// SPDX-License-Identifier: BSD-2-Clause
//! The domain's watchdog: Xen ends the domain unless it is patted in time.
//!
//! One watchdog, whoever pats it. After a migration the id is one of another domain: setting then fails
//! with `STATUS_INVALID_PARAMETER`, and a new one is made.
//!
//! # IRQL
//! Any; one caller at a time.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::{Result, Status};

use crate::hypercall::Hypercall;
use crate::sched;

/// The watchdog that runs, if any.
#[derive(Debug)]
pub struct Watchdog {
    /// Xen's id; 0: none.
    id: AtomicU32,
    seconds: AtomicU32,
}

impl Watchdog {
    /// None runs.
    pub const fn new() -> Self {
        Self {
            id: AtomicU32::new(0),
            seconds: AtomicU32::new(0),
        }
    }

    /// Starts it, or pats it; the domain ends after `seconds` without another call.
    ///
    /// Returns whether the time changed. `STATUS_INVALID_PARAMETER` for 0.
    pub fn set(&self, xen: &impl Hypercall, seconds: u32) -> Result<bool> {
        if seconds == 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let known = self.id.load(Ordering::Acquire);
        let id = match sched::watchdog(xen, known, seconds) {
            // Not of this domain any more.
            Err(Status::INVALID_PARAMETER) if known != 0 => {
                self.id.store(0, Ordering::Release);
                sched::watchdog(xen, 0, seconds)?
            }
            other => other?,
        };
        self.id.store(id, Ordering::Release);
        Ok(self.seconds.swap(seconds, Ordering::Relaxed) != seconds)
    }

    /// Ends it. A failure is ignored: then there was none in this domain.
    pub fn stop(&self, xen: &impl Hypercall) {
        let id = self.id.swap(0, Ordering::AcqRel);
        self.seconds.store(0, Ordering::Relaxed);
        if id != 0 {
            let _ = sched::watchdog(xen, id, 0);
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn the_first_call_makes_it_and_the_next_ones_pat_it() {
        let dog = Watchdog::new();
        assert_eq!(dog.set(&Fake::new(8, 2), 30), Ok(true));
        let xen = Fake::new(8, 0);
        assert_eq!(dog.set(&xen, 30), Ok(false));
        assert_eq!(xen.only().argument, [2, 0, 0, 0, 30, 0, 0, 0]);
        assert_eq!(dog.set(&Fake::new(8, 0), 60), Ok(true));
    }

    #[test]
    fn no_time_is_refused_before_xen_is_asked() {
        let xen = Fake::new(8, 1);
        let result = Watchdog::new().set(&xen, 0);
        assert_eq!(result, Err(Status::INVALID_PARAMETER));
        assert_eq!(xen.count(), 0);
    }

    #[test]
    fn a_watchdog_of_another_domain_is_forgotten() {
        let dog = Watchdog::new();
        assert_eq!(dog.set(&Fake::new(8, 2), 30), Ok(true));
        let xen = Fake::new(8, -22);
        assert_eq!(dog.set(&xen, 30), Err(Status::INVALID_PARAMETER));
        assert_eq!(xen.count(), 2, "a new one was asked for");
        let xen = Fake::new(8, 1);
        assert!(dog.set(&xen, 30).is_ok());
        assert_eq!(xen.only().argument[..4], [0; 4]);
    }

    #[test]
    fn stopping_ends_it_once_and_ignores_a_refusal() {
        let dog = Watchdog::new();
        dog.stop(&Fake::new(8, 0));
        assert_eq!(dog.set(&Fake::new(8, 1), 30), Ok(true));
        let xen = Fake::new(8, -22);
        dog.stop(&xen);
        assert_eq!(xen.only().argument, [1, 0, 0, 0, 0, 0, 0, 0]);
        let again = Fake::new(8, 0);
        dog.stop(&again);
        assert_eq!(again.count(), 0);
    }
}
