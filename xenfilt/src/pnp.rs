// SPDX-License-Identifier: BSD-2-Clause
//! The PnP state of one filter object, and what each PnP request means to it.
//!
//! ```text
//!            (1)            (2)                 (4)
//!   Added ────────> Started ───> StopPending ────────> Stopped
//!     │               │  ^ <──────── (3) │                │
//!     │               │  └───────────────────────── (1) ──┘
//!     │          (5)  v  ^ (6)
//!     │           RemovePending        SurpriseRemovePending <── (7) from any
//!     │               │                      │
//!     └──── (8) ──────┴──────── (8) ─────────┴──────────────> Deleted
//! ```
//!
//! 1. `START_DEVICE`, after the lower drivers have succeeded: [`Pnp::started`].
//! 2. `QUERY_STOP_DEVICE`; 3. `CANCEL_STOP_DEVICE`; 4. `STOP_DEVICE`.
//! 5. `QUERY_REMOVE_DEVICE`; 6. `CANCEL_REMOVE_DEVICE`; 7. `SURPRISE_REMOVAL`.
//! 8. `REMOVE_DEVICE`, from any state. Final.
//!
//! 2 to 8 are [`Pnp::begin`]. A cancel puts the previous state back, and only from the state that it
//! cancels. PnP sends these requests one at a time, at PASSIVE_LEVEL.

pub use kexec::nt::wdm::mn as minor;

/// Where a filter object is in the life of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Attached, never started.
    Added,
    /// The device works.
    Started,
    /// A stop was asked for.
    StopPending,
    /// Stopped to change resources.
    Stopped,
    /// A removal was asked for.
    RemovePending,
    /// The device is gone, its removal follows.
    SurpriseRemovePending,
    /// Removed; the object only refuses what still arrives.
    Deleted,
}

/// What to do with a PnP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Pass it on untouched.
    Pass,
    /// Pass it on with success in it.
    Agree,
    /// Let the lower drivers start first, then report to [`Pnp::started`] and complete with their status.
    Start,
    /// Let the lower drivers go first, then leave the stack.
    Remove,
    /// Adjust the power flags on the way down and up.
    Usage,
}

/// State and previous state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pnp {
    state: State,
    previous: State,
}

impl Pnp {
    /// A filter object that has just been attached.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Added,
            previous: State::Added,
        }
    }

    /// The present state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Takes note of a request on its way down.
    pub fn begin(&mut self, code: u8) -> Plan {
        match code {
            minor::START_DEVICE => return Plan::Start,
            minor::DEVICE_USAGE_NOTIFICATION => return Plan::Usage,
            minor::REMOVE_DEVICE => {
                self.set(State::Deleted);
                return Plan::Remove;
            }
            minor::QUERY_STOP_DEVICE => self.set(State::StopPending),
            minor::CANCEL_STOP_DEVICE => self.restore(State::StopPending),
            minor::STOP_DEVICE => self.set(State::Stopped),
            minor::QUERY_REMOVE_DEVICE => self.set(State::RemovePending),
            minor::CANCEL_REMOVE_DEVICE => self.restore(State::RemovePending),
            minor::SURPRISE_REMOVAL => self.set(State::SurpriseRemovePending),
            _ => return Plan::Pass,
        }
        Plan::Agree
    }

    /// Takes note of the lower drivers' answer to a start.
    pub fn started(&mut self, success: bool) {
        if success {
            self.set(State::Started);
        }
    }

    fn set(&mut self, state: State) {
        self.previous = self.state;
        self.state = state;
    }

    fn restore(&mut self, cancelled: State) {
        if self.state == cancelled {
            self.state = self.previous;
        }
    }
}

impl Default for Pnp {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{minor::*, *};

    fn run(codes: &[u8]) -> State {
        let mut pnp = Pnp::new();
        for &code in codes {
            if pnp.begin(code) == Plan::Start {
                pnp.started(true);
            }
        }
        pnp.state()
    }

    #[test]
    fn a_cancel_puts_back_the_state_before_the_query() {
        assert_eq!(run(&[START_DEVICE, QUERY_STOP_DEVICE]), State::StopPending);
        assert_eq!(
            run(&[START_DEVICE, QUERY_STOP_DEVICE, CANCEL_STOP_DEVICE]),
            State::Started
        );
        assert_eq!(
            run(&[START_DEVICE, QUERY_REMOVE_DEVICE, CANCEL_REMOVE_DEVICE]),
            State::Started
        );
        assert_eq!(
            run(&[QUERY_REMOVE_DEVICE, CANCEL_REMOVE_DEVICE]),
            State::Added
        );
    }

    #[test]
    fn a_cancel_without_its_query_changes_nothing() {
        assert_eq!(run(&[START_DEVICE, CANCEL_STOP_DEVICE]), State::Started);
        assert_eq!(
            run(&[START_DEVICE, QUERY_STOP_DEVICE, CANCEL_REMOVE_DEVICE]),
            State::StopPending
        );
        assert_eq!(run(&[START_DEVICE, CANCEL_REMOVE_DEVICE]), State::Started);
    }

    #[test]
    fn a_stopped_device_starts_again() {
        assert_eq!(
            run(&[START_DEVICE, QUERY_STOP_DEVICE, STOP_DEVICE]),
            State::Stopped
        );
        assert_eq!(
            run(&[START_DEVICE, QUERY_STOP_DEVICE, STOP_DEVICE, START_DEVICE]),
            State::Started
        );
    }

    #[test]
    fn a_failed_start_leaves_the_state() {
        let mut pnp = Pnp::new();
        assert_eq!(pnp.begin(START_DEVICE), Plan::Start);
        pnp.started(false);
        assert_eq!(pnp.state(), State::Added);
    }

    #[test]
    fn removal_comes_from_every_state() {
        for before in [
            &[][..],
            &[START_DEVICE],
            &[START_DEVICE, QUERY_REMOVE_DEVICE],
            &[START_DEVICE, QUERY_STOP_DEVICE, STOP_DEVICE],
            &[START_DEVICE, SURPRISE_REMOVAL],
        ] {
            let mut pnp = Pnp::new();
            for &code in before {
                if pnp.begin(code) == Plan::Start {
                    pnp.started(true);
                }
            }
            assert_eq!(pnp.begin(REMOVE_DEVICE), Plan::Remove);
            assert_eq!(pnp.state(), State::Deleted);
        }
    }

    #[test]
    fn unknown_requests_pass_untouched() {
        let mut pnp = Pnp::new();
        for code in [0x07, 0x08, 0x09, 0x0b, 0x0d, 0x13, 0x14, 0x15, 0x18, 0xff] {
            assert_eq!(pnp.begin(code), Plan::Pass, "{code:#x}");
        }
        assert_eq!(pnp, Pnp::new());
    }
}
