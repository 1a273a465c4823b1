// SPDX-License-Identifier: BSD-2-Clause
//! What the filter does with each request, in order. The device and the request are traits, so that a
//! host test sees every step.
//!
//! Every request holds the device's remove lock while it is inside, until the call to the lower driver
//! has returned; a request that was waited for holds it until just before its completion. Power and all
//! other requests are passed on at the caller's IRQL without waiting, allocating or touching pageable
//! memory: the boot disk and the page file may hang below. PnP requests come at PASSIVE_LEVEL.
//!
//! A device ends by `REMOVE_DEVICE`: the lower drivers go first, then the lock is drained, then the
//! object leaves the stack. Requests that still reach it find it deleted.

use crate::pnp::{Plan, State, minor};

/// IRP_MJ_PNP.
pub const MAJOR_PNP: u8 = 0x1b;

const STATUS_SUCCESS: i32 = 0;
const STATUS_NO_SUCH_DEVICE: i32 = 0xC000_000E_u32.cast_signed();

/// A request in the filter's hands.
pub trait Request: Sized {
    /// IRP_MJ_ code.
    fn major(&self) -> u8;
    /// IRP_MN_ code.
    fn minor(&self) -> u8;
    /// The status that it carries.
    fn status(&self) -> i32;
    /// Changes that status alone.
    fn set_status(&mut self, status: i32);
    /// Hands it to the lower driver for good.
    fn pass(self) -> i32;
    /// Hands it to the lower driver and gets it back. PASSIVE_LEVEL.
    #[must_use]
    fn forward_and_wait(self) -> Self;
    /// Completes it with the status that it carries.
    fn complete(self) -> i32;
}

/// A filter object.
pub trait Object: Copy {
    /// One request inside the device.
    type Guard;
    /// Enters the device.
    ///
    /// # Errors
    /// The NTSTATUS for the request, once removal has begun.
    fn enter(self) -> Result<Self::Guard, i32>;
    /// Waits until `guard`'s request is the only one inside, and lets no other in.
    fn drain(self, guard: Self::Guard);
    /// Runs `with` on the PnP state.
    fn pnp<R>(self, with: impl FnOnce(&mut crate::pnp::Pnp) -> R) -> R;
    /// Follows the driver above in DO_POWER_PAGABLE; without one, sets it.
    fn usage_down(self);
    /// Clears DO_POWER_PAGABLE if the driver below has.
    fn usage_up(self);
    /// Leaves the stack and deletes the object.
    fn leave(self);
}

/// The dispatch routine for every major function.
pub fn dispatch<O: Object, R: Request>(object: O, mut request: R) -> i32 {
    let pnp = request.major() == MAJOR_PNP;
    if object.pnp(|pnp| pnp.state()) == State::Deleted {
        // PnP may send more than one removal; a second one finds the work done.
        let done = pnp
            && matches!(
                request.minor(),
                minor::REMOVE_DEVICE | minor::SURPRISE_REMOVAL
            );
        request.set_status(if done {
            STATUS_SUCCESS
        } else {
            STATUS_NO_SUCH_DEVICE
        });
        return request.complete();
    }
    let guard = match object.enter() {
        Ok(guard) => guard,
        Err(status) => {
            request.set_status(status);
            return request.complete();
        }
    };
    if !pnp {
        let status = request.pass();
        drop(guard);
        return status;
    }
    let code = request.minor();
    match object.pnp(|pnp| pnp.begin(code)) {
        Plan::Pass => pass(request, guard),
        Plan::Agree => {
            request.set_status(STATUS_SUCCESS);
            pass(request, guard)
        }
        Plan::Start => {
            let request = request.forward_and_wait();
            let success = request.status() >= 0;
            object.pnp(|pnp| pnp.started(success));
            drop(guard);
            request.complete()
        }
        Plan::Usage => {
            object.usage_down();
            let request = request.forward_and_wait();
            object.usage_up();
            drop(guard);
            request.complete()
        }
        Plan::Remove => {
            request.set_status(STATUS_SUCCESS);
            let request = request.forward_and_wait();
            object.drain(guard);
            object.leave();
            request.complete()
        }
    }
}

fn pass<R: Request, G>(request: R, guard: G) -> i32 {
    let status = request.pass();
    drop(guard);
    status
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
