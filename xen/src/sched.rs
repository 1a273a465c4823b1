// SPDX-License-Identifier: BSD-2-Clause
//! `sched_op`: yielding and stopping.
//!
//! # IRQL
//! Any; a suspension is asked for at HIGH_LEVEL with interrupts off.

use kexec::{Result, Status};
use xenbus_interface::errno;
use xenbus_interface::xen::SHUTDOWN_SUSPEND;

use crate::hypercall::{Hypercall, address, number::SCHED_OP};
use crate::wire::{Shutdown, Watchdog};

const YIELD: u64 = 0;
const SHUTDOWN: u64 = 2;
const SHUTDOWN_CODE: u64 = 5;
const WATCHDOG: u64 = 6;

/// Gives the rest of the time slice away.
pub fn yield_now(xen: &impl Hypercall) {
    // There is nothing to do about a failure: the caller goes on either way.
    let _ = xen.call(SCHED_OP, YIELD, 0, 0);
}

/// Stops the domain.
///
/// A suspension returns in the new domain; `STATUS_CANCELLED` if it did not happen, and then nothing
/// may be resumed.
pub fn shutdown(xen: &impl Hypercall, reason: u32) -> Result {
    let result = xen.operate(SCHED_OP, SHUTDOWN, &mut Shutdown { reason })?;
    if reason == SHUTDOWN_SUSPEND && result != 0 {
        return Err(Status::CANCELLED);
    }
    Ok(())
}

/// Latches the reason that Xen reports when the domain stops later. The first latched reason wins.
pub fn shutdown_code(xen: &impl Hypercall, reason: u32) -> Result {
    xen.operate(SCHED_OP, SHUTDOWN_CODE, &mut Shutdown { reason })
        .map(drop)
}

/// Starts, pats or ends a watchdog of the domain; returns its id.
///
/// `id` 0 allocates one; `seconds` 0 ends the one with this id. `STATUS_INVALID_PARAMETER`: there is
/// none with this id; `STATUS_INSUFFICIENT_RESOURCES`: all are taken.
pub fn watchdog(xen: &impl Hypercall, id: u32, seconds: u32) -> Result<u32> {
    let mut argument = Watchdog {
        id,
        timeout: seconds,
    };
    let result = xen.call(SCHED_OP, WATCHDOG, address(&mut argument), 0);
    // Xen (4.17 for one) computes this result as an unsigned 32-bit number: an error is not negative.
    let result = errno::check(i64::from(result as i32))?;
    match (id, u32::try_from(result)) {
        (0, Ok(new)) if new != 0 => Ok(new),
        // Nothing was allocated, or an id that no later call could name.
        (0, _) => Err(Status::UNSUCCESSFUL),
        _ => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn a_cancelled_suspension_is_an_error() {
        let xen = Fake::new(4, 1);
        assert_eq!(shutdown(&xen, SHUTDOWN_SUSPEND), Err(Status::CANCELLED));
        let call = xen.only();
        assert_eq!((call.number, call.first), (29, 2));
        assert_eq!(call.argument, 2_u32.to_le_bytes());
        assert_eq!(shutdown(&Fake::new(4, 0), SHUTDOWN_SUSPEND), Ok(()));
    }

    #[test]
    fn only_a_suspension_can_be_cancelled() {
        assert_eq!(shutdown(&Fake::new(4, 1), 0), Ok(()));
    }

    #[test]
    fn a_reason_is_latched_without_stopping() {
        let xen = Fake::new(4, 0);
        assert_eq!(shutdown_code(&xen, 3), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first), (29, 5));
        assert_eq!(call.argument, 3_u32.to_le_bytes());
    }

    #[test]
    fn a_new_watchdog_has_the_id_that_xen_returned() {
        let xen = Fake::new(8, 2);
        assert_eq!(watchdog(&xen, 0, 30), Ok(2));
        let call = xen.only();
        assert_eq!((call.number, call.first), (29, 6));
        assert_eq!(call.argument, [0, 0, 0, 0, 30, 0, 0, 0]);
        let nothing = watchdog(&Fake::new(8, 0), 0, 30);
        assert_eq!(nothing, Err(Status::UNSUCCESSFUL));
    }

    #[test]
    fn an_error_that_xen_returns_as_an_unsigned_number_is_an_error() {
        let none_free = i64::from((-28_i32).cast_unsigned());
        let result = watchdog(&Fake::new(8, none_free), 0, 30);
        assert_eq!(result, Err(Status::INSUFFICIENT_RESOURCES));
    }

    #[test]
    fn a_watchdog_is_patted_and_ended_by_its_id() {
        let xen = Fake::new(8, 0);
        assert_eq!(watchdog(&xen, 2, 0), Ok(2));
        assert_eq!(xen.only().argument, [2, 0, 0, 0, 0, 0, 0, 0]);
        let gone = watchdog(&Fake::new(8, -22), 2, 10);
        assert_eq!(gone, Err(Status::INVALID_PARAMETER));
        let none_free = watchdog(&Fake::new(8, -28), 0, 10);
        assert_eq!(none_free, Err(Status::INSUFFICIENT_RESOURCES));
    }

    #[test]
    fn a_yield_ignores_the_answer() {
        let xen = Fake::new(0, -38);
        yield_now(&xen);
        let call = xen.only();
        assert_eq!((call.number, call.first, call.second), (29, 0, 0));
    }
}
