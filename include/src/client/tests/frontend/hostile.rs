// SPDX-License-Identifier: BSD-2-Clause
//! Whatever the other end, the toolstack, the store and the pool do, nothing is left behind.

use core::task::Poll;
use std::format;

use kexec::{Duration, Status};

use super::{BACKEND, Machine, PATH, STATE};
use crate::client::frontend::State;

#[test]
fn states_that_are_none_say_nothing() {
    let mut machine = Machine::offered();
    machine.connect();
    for junk in ["", "9", "44", "4 ", "-5", "5\0", "closed", "\u{ff}"] {
        machine.tree.write(&format!("{BACKEND}/state"), junk);
        assert_eq!(machine.states(), "", "{junk:?}");
        assert_eq!(machine.links(), 1);
    }
    assert_eq!(machine.script.trace(), "");
    machine.backend(State::Closing);
    assert_eq!(machine.states(), "56");
}

#[test]
fn every_state_of_the_backend_is_answered_in_every_state_of_ours() {
    let states = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    for first in states {
        for second in states {
            for third in states {
                let mut machine = Machine::new();
                let mut ended = Poll::Pending;
                for state in [first, second, third] {
                    let text = std::string::ToString::to_string(&state);
                    machine.tree.write(&format!("{BACKEND}/state"), &text);
                    ended = machine.go();
                    assert!(ended.is_pending(), "{first} {second} {third}");
                }
                // Whatever that was, the device connects with one that behaves.
                for _ in 0..4 {
                    machine.backend(State::Closed);
                    assert!(machine.go().is_pending());
                    machine.session.advance(Duration::from_secs(6));
                }
                assert!(machine.go().is_pending(), "{ended:?}");
                assert_eq!(machine.links(), 0);
                assert_eq!(machine.tree.get(STATE).as_deref(), Some("1"));
                machine.backend(State::InitWait);
                assert!(machine.go().is_pending());
                machine.backend(State::Connected);
                assert!(machine.go().is_pending());
                assert_eq!(machine.tree.get(STATE).as_deref(), Some("4"));
            }
        }
    }
}

#[test]
fn keys_of_the_toolstack_that_make_no_sense_are_an_error() {
    for (name, value) in [
        ("backend-id", "32752"),
        ("backend-id", "70000"),
        ("backend-id", "-1"),
        ("backend-id", "zero"),
        ("backend", ""),
    ] {
        let mut machine = Machine::offered();
        machine.tree.write(&format!("{PATH}/{name}"), value);
        let ended = machine.go();
        assert_eq!(
            ended,
            Poll::Ready(Err(Status::DATA_ERROR)),
            "{name} {value}"
        );
    }
    let mut machine = Machine::offered();
    machine
        .tree
        .write(&format!("{BACKEND}/feature-multi"), "yes");
    assert_eq!(machine.go(), Poll::Ready(Err(Status::DATA_ERROR)));
}

#[test]
fn a_state_is_written_again_after_a_conflict() {
    let mut machine = Machine::offered();
    machine.tree.conflict(3);
    machine.connect();
}

/// The whole life of a device, one request at a time: connected, reconfigured, moved, resumed, closed. Stops after `limit` answers;
/// false when there were fewer.
fn whole_life(machine: &mut Machine, limit: usize) -> bool {
    machine.tree.hold(true);
    let mut answers = 0;
    let acts: [fn(&Machine); 8] = [
        |_| {},
        |m| m.backend(State::InitWait),
        |m| m.backend(State::Connected),
        |m| m.backend(State::Reconfiguring),
        |m| m.backend(State::Reconfigured),
        |m| m.suspend.resume(),
        |m| m.closing.set(),
        |m| m.backend(State::Closed),
    ];
    for act in acts {
        act(machine);
        loop {
            if machine.go().is_ready() {
                return false;
            }
            if answers == limit {
                return true;
            }
            if !machine.tree.step() {
                break;
            }
            answers += 1;
        }
    }
    false
}

#[test]
fn a_frontend_dropped_at_any_await_leaves_nothing_behind() {
    let mut limit = 0;
    loop {
        let mut machine = Machine::new();
        let stopped = whole_life(&mut machine, limit);
        // The machine's end looks for what is left.
        drop(machine);
        if !stopped {
            break;
        }
        limit += 1;
    }
    assert!(limit > 60, "only {limit} awaits");
}

#[test]
fn a_request_that_fails_ends_the_link_whichever_it_is() {
    let mut at = 0;
    loop {
        let mut machine = Machine::new();
        machine.tree.fail(at, Status::IO_DEVICE_ERROR);
        let stopped = whole_life(&mut machine, usize::MAX);
        assert!(!stopped);
        if machine.running.is_none() {
            assert_eq!(machine.links(), 0, "request {at}");
        }
        let over = machine.tree.requests() <= at;
        machine.running = None;
        if over {
            break;
        }
        at += 1;
    }
    assert!(at > 60, "only {at} requests");
}

#[test]
fn no_memory_at_any_allocation_ends_the_link_and_nothing_is_left() {
    let mut at = 0;
    loop {
        let mut machine = Machine::new();
        machine.session.fail_alloc(Some(at));
        let _ = whole_life(&mut machine, usize::MAX);
        let over = machine.session.fail_pending();
        machine.session.fail_alloc(None);
        if machine.running.is_none() {
            assert_eq!(machine.links(), 0, "allocation {at}");
        }
        if over {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "only {at} allocations");
}
