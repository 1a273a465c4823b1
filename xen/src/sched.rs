// SPDX-License-Identifier: BSD-2-Clause
//! `sched_op`: yielding and stopping.
//!
//! # IRQL
//! Any; a suspension is asked for at HIGH_LEVEL with interrupts off.

use kexec::{Result, Status};
use xenbus_interface::xen::SHUTDOWN_SUSPEND;

use crate::hypercall::{Hypercall, number::SCHED_OP};
use crate::wire::Shutdown;

const YIELD: u64 = 0;
const SHUTDOWN: u64 = 2;

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
    fn a_yield_ignores_the_answer() {
        let xen = Fake::new(0, -38);
        yield_now(&xen);
        let call = xen.only();
        assert_eq!((call.number, call.first, call.second), (29, 0, 0));
    }
}
