// SPDX-License-Identifier: BSD-2-Clause
//! What the verifier remembers about requests: who allocated each IRP, where it is, and whether each
//! dispatch routine's return value agrees with what became of the IRP.
//!
//! Every `IofCallDriver` opens a *call record* for the stack location it hands over. The completion walk closes the
//! records of the locations it passes and notes the pending bit. A routine that returns `STATUS_PENDING` must have its location
//! marked pending when the walk comes by, at the latest by its completion routine; one that returns anything else must
//! not, and the IRP must be completed by then. An IRP that is gone leaves a tombstone until its memory is used again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

/// Runs when an IRP that the kernel built has been completed by every driver.
pub type Finish = Box<dyn FnOnce(Ptr) + Send>;

struct Tracked {
    owner: String,
    alive: bool,
    /// Handed to a driver and not yet back in a completion routine.
    in_flight: bool,
    finish: Option<Finish>,
    /// Open call records: the stack location and the record's number.
    calls: Vec<(u8, u64)>,
}

struct Call {
    /// The driver whose dispatch routine was called.
    who: String,
    passed: bool,
    pending: bool,
    /// The routine returned `STATUS_PENDING` before the completion walk came by.
    promised: bool,
    /// Somebody above, who shares the location, had marked it pending already.
    inherited: bool,
}

#[derive(Default)]
struct State {
    irps: BTreeMap<Ptr, Tracked>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
}

static STATE: Lock<Option<State>> = Lock::new(None);

fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(STATE.lock().get_or_insert_with(State::default))
}

/// What is wrong with using an IRP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// No IRP was ever at that address.
    Unknown,
    /// It was completed or freed.
    Gone,
}

/// Enters a new IRP.
pub fn add(irp: Ptr, finish: Option<Finish>) {
    let owner = verifier::caller().driver;
    let tracked = Tracked {
        owner,
        alive: true,
        in_flight: false,
        finish,
        calls: Vec::new(),
    };
    with(|state| state.irps.insert(irp, tracked));
}

/// Checks that the address is a live IRP.
pub fn check(irp: Ptr) -> Result<(), Wrong> {
    with(|state| match state.irps.get(&irp) {
        Some(tracked) if tracked.alive => Ok(()),
        Some(_) => Err(Wrong::Gone),
        None => Err(Wrong::Unknown),
    })
}

/// Marks an IRP as gone; returns whether a driver still had it.
pub fn remove(irp: Ptr) -> bool {
    with(|state| {
        let Some(tracked) = state.irps.get_mut(&irp) else {
            return false;
        };
        tracked.alive = false;
        let calls = core::mem::take(&mut tracked.calls);
        let in_flight = tracked.in_flight;
        for (_, number) in calls {
            if let Some(call) = state.calls.get_mut(&number) {
                call.passed = true;
            }
        }
        in_flight
    })
}

/// Takes the routine to run at the end of an IRP of the kernel's.
pub fn take_finish(irp: Ptr) -> Option<Finish> {
    with(|state| {
        state
            .irps
            .get_mut(&irp)
            .and_then(|tracked| tracked.finish.take())
    })
}

/// Opens the record of a call that hands over `location` to driver `who`; `inherited` says that the location is marked pending
/// already, by a driver above that shares it.
pub fn open_call(irp: Ptr, location: u8, who: &str, inherited: bool) -> u64 {
    with(|state| {
        state.next_call += 1;
        let number = state.next_call;
        let who = String::from(who);
        let call = Call {
            who,
            passed: false,
            pending: false,
            promised: false,
            inherited,
        };
        state.calls.insert(number, call);
        if let Some(tracked) = state.irps.get_mut(&irp) {
            tracked.in_flight = true;
            tracked.calls.push((location, number));
        }
        number
    })
}

/// The completion walk passes `location`, whose pending bit is `pending`; names the driver that promised to mark it.
pub fn pass(irp: Ptr, location: u8, pending: bool) -> Option<String> {
    with(|state| {
        let tracked = state.irps.get_mut(&irp)?;
        tracked.in_flight = false;
        let calls = &mut state.calls;
        let mut broken = None;
        tracked.calls.retain(|(at, number)| {
            if *at == location
                && let Some(call) = calls.get_mut(number)
            {
                call.passed = true;
                call.pending = pending;
                if call.promised {
                    if !pending {
                        broken = Some(call.who.clone());
                    }
                    calls.remove(number);
                }
            }
            *at != location
        });
        broken
    })
}

/// Closes a record when the dispatch routine has returned `pending` or not; says what does not agree.
/// `marked` reads the pending bit of a location that nobody completed yet.
pub fn close_call(
    irp: Ptr,
    number: u64,
    pending: bool,
    marked: impl FnOnce() -> bool,
) -> Option<&'static str> {
    with(|state| {
        let call = state.calls.get_mut(&number)?;
        if !call.passed && pending {
            call.promised = true;
            return None;
        }
        let call = state.calls.remove(&number)?;
        let bit = if call.passed {
            call.pending
        } else {
            let tracked = state.irps.get_mut(&irp)?;
            tracked.calls.retain(|(_, n)| *n != number);
            tracked.alive && marked()
        };
        match (pending, bit) {
            (true, false) => Some("returned STATUS_PENDING without marking the IRP pending"),
            (false, true) if !call.inherited => {
                Some("marked the IRP pending but did not return STATUS_PENDING")
            }
            (false, false) if !call.passed => {
                Some("returned without completing or pending the IRP")
            }
            _ => None,
        }
    })
}

/// IRPs that a driver allocated and never freed.
pub fn left_by(driver: &str) -> Vec<Ptr> {
    with(|state| {
        let left = |(irp, tracked): (&Ptr, &Tracked)| {
            (tracked.alive && tracked.owner == driver).then_some(*irp)
        };
        state.irps.iter().filter_map(left).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_value_must_agree_with_the_pending_bit_and_completion() {
        let irp = Ptr(0xA000);
        add(irp, None);
        let open = |location| open_call(irp, location, "d", false);
        let call = open(2);
        assert_eq!(close_call(irp, call, true, || false), None);
        assert_eq!(pass(irp, 2, true), None, "marked by the completion routine");
        let call = open(2);
        assert_eq!(close_call(irp, call, true, || false), None);
        assert_eq!(
            pass(irp, 2, false).as_deref(),
            Some("d"),
            "promised and not marked"
        );
        let call = open(1);
        assert_eq!(pass(irp, 1, false), None);
        assert!(
            close_call(irp, call, true, || false)
                .unwrap()
                .contains("without marking")
        );
        let call = open(1);
        pass(irp, 1, false);
        assert_eq!(close_call(irp, call, false, || true), None);
        let call = open(1);
        pass(irp, 1, true);
        assert!(
            close_call(irp, call, false, || true)
                .unwrap()
                .contains("did not return")
        );
        let call = open_call(irp, 1, "d", true);
        pass(irp, 1, true);
        assert_eq!(close_call(irp, call, false, || true), None, "marked above");
        let call = open(1);
        assert!(
            close_call(irp, call, false, || false)
                .unwrap()
                .contains("without completing")
        );
    }

    #[test]
    fn an_irp_that_is_gone_is_told_from_one_that_never_was() {
        let irp = Ptr(0xB000);
        assert_eq!(check(irp), Err(Wrong::Unknown));
        add(irp, None);
        assert_eq!(check(irp), Ok(()));
        open_call(irp, 1, "d", false);
        assert!(remove(irp), "a driver still had it");
        assert_eq!(check(irp), Err(Wrong::Gone));
    }
}
