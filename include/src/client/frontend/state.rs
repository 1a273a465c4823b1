// SPDX-License-Identifier: BSD-2-Clause
//! States of the two ends of a device, as they stand in the store.

/// What an end of a device says about itself in its key `state`.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No such key, or nobody there.
    Unknown = 0,
    /// It starts.
    Initialising = 1,
    /// A backend that has said what it offers.
    InitWait = 2,
    /// It has said what the other end must know.
    Initialised = 3,
    /// At work.
    Connected = 4,
    /// It wants to end, or has seen that the other end does.
    Closing = 5,
    /// It has ended and uses nothing of the other end.
    Closed = 6,
    /// It is about to change what it offers.
    Reconfiguring = 7,
    /// It has changed what it offers.
    Reconfigured = 8,
}

/// By number.
const STATES: [(State, &str); 9] = [
    (State::Unknown, "0"),
    (State::Initialising, "1"),
    (State::InitWait, "2"),
    (State::Initialised, "3"),
    (State::Connected, "4"),
    (State::Closing, "5"),
    (State::Closed, "6"),
    (State::Reconfiguring, "7"),
    (State::Reconfigured, "8"),
];

impl State {
    /// The state with that text; `None` for anything else, which says nothing.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let found = STATES.iter().find(|(_, known)| known.as_bytes() == text);
        found.map(|(state, _)| *state)
    }

    /// The text of the key.
    #[must_use]
    pub fn text(self) -> &'static str {
        STATES[self as usize].1
    }

    /// A backend with that state may still use what it was told of.
    pub(super) fn in_use(self) -> bool {
        matches!(
            self,
            Self::Initialised | Self::Connected | Self::Reconfiguring | Self::Reconfigured
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_digit_and_nothing_else() {
        for (number, (state, text)) in STATES.iter().enumerate() {
            assert_eq!(*state as usize, number);
            assert_eq!(State::parse(text.as_bytes()), Some(*state));
            assert_eq!(state.text(), *text);
        }
        for junk in ["", "9", "04", "4 ", "-1", "4\0", "four", "\u{664}"] {
            assert_eq!(State::parse(junk.as_bytes()), None, "{junk:?}");
        }
    }
}
