// SPDX-License-Identifier: BSD-2-Clause
//! `vcpu_op`: timers, and where Xen keeps a vCPU's event state.
//!
//! Every operation takes Xen's number of the vCPU, never Windows' index.
//!
//! # IRQL
//! Any.

use kexec::{Result, Status};
use xenbus_interface::errno;

use crate::hypercall::{Hypercall, address, number::VCPU_OP};
use crate::wire::{Argument, PeriodicTimer, RegisterVcpuInfo};

const IS_UP: u64 = 3;
const SET_PERIODIC_TIMER: u64 = 6;
const STOP_PERIODIC_TIMER: u64 = 7;
const REGISTER_VCPU_INFO: u64 = 10;

/// Nanoseconds of one unit of Windows' time.
const NANOSECONDS: u64 = 100;

fn operate(xen: &impl Hypercall, command: u64, vcpu: u32, argument: &mut impl Argument) -> Result {
    errno::check(xen.call(VCPU_OP, command, u64::from(vcpu), address(argument))).map(drop)
}

/// Does this vCPU run? `STATUS_OBJECT_NAME_NOT_FOUND`: there is none.
pub fn is_up(xen: &impl Hypercall, vcpu: u32) -> Result<bool> {
    errno::check(xen.call(VCPU_OP, IS_UP, u64::from(vcpu), 0)).map(|up| up != 0)
}

/// Raises `VIRQ_TIMER` on this vCPU each `period` (100 ns units).
///
/// `STATUS_INVALID_PARAMETER` for a period that is not positive, too short for Xen (1 ms) or too long.
pub fn set_periodic_timer(xen: &impl Hypercall, vcpu: u32, period: i64) -> Result {
    let period_ns = u64::try_from(period)
        .ok()
        .filter(|period| *period != 0)
        .and_then(|period| period.checked_mul(NANOSECONDS))
        .ok_or(Status::INVALID_PARAMETER)?;
    operate(
        xen,
        SET_PERIODIC_TIMER,
        vcpu,
        &mut PeriodicTimer { period_ns },
    )
}

/// Ends [`set_periodic_timer`].
pub fn stop_periodic_timer(xen: &impl Hypercall, vcpu: u32) -> Result {
    errno::check(xen.call(VCPU_OP, STOP_PERIODIC_TIMER, u64::from(vcpu), 0)).map(drop)
}

/// Moves a vCPU's event state to `offset` of guest frame `gfn`, once in the domain's life.
///
/// `STATUS_INVALID_PARAMETER` unless it runs on that vCPU or the vCPU is offline, and for a structure
/// that would cross the page's end.
pub fn register_vcpu_info(xen: &impl Hypercall, vcpu: u32, gfn: u64, offset: u32) -> Result {
    let mut argument = RegisterVcpuInfo {
        mfn: gfn,
        offset,
        reserved: 0,
    };
    operate(xen, REGISTER_VCPU_INFO, vcpu, &mut argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn a_period_goes_in_nanoseconds() {
        let xen = Fake::third(8, 0);
        assert_eq!(set_periodic_timer(&xen, 3, 20_000_000), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.second), (24, 6, 3));
        assert_eq!(call.argument, 2_000_000_000_u64.to_le_bytes());
    }

    #[test]
    fn a_period_that_is_none_does_not_reach_xen() {
        for period in [0, -1, i64::MIN, i64::MAX] {
            let xen = Fake::third(8, 0);
            let result = set_periodic_timer(&xen, 0, period);
            assert_eq!(result, Err(Status::INVALID_PARAMETER), "{period}");
            assert_eq!(xen.count(), 0);
        }
    }

    #[test]
    fn a_timer_is_stopped_without_an_argument() {
        let xen = Fake::new(0, 0);
        assert_eq!(stop_periodic_timer(&xen, 33), Ok(()));
        let call = xen.only();
        assert_eq!(
            (call.number, call.first, call.second, call.third),
            (24, 7, 33, 0)
        );
    }

    #[test]
    fn an_event_state_is_registered_by_frame_and_offset() {
        let xen = Fake::third(16, -22);
        let result = register_vcpu_info(&xen, 40, 0x1_2345_6789, 0x40);
        assert_eq!(result, Err(Status::INVALID_PARAMETER));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.second), (24, 10, 40));
        assert_eq!(call.argument[..8], 0x1_2345_6789_u64.to_le_bytes());
        assert_eq!(call.argument[8..], [0x40, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_vcpu_is_up_or_not_or_not_there() {
        assert_eq!(is_up(&Fake::new(0, 1), 0), Ok(true));
        assert_eq!(is_up(&Fake::new(0, 0), 1), Ok(false));
        let xen = Fake::new(0, -2);
        assert_eq!(is_up(&xen, 200), Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!((xen.only().first, xen.only().second), (3, 200));
    }
}
