// SPDX-License-Identifier: BSD-2-Clause
//! What the two ends do to each other, transition by transition.

use core::task::Poll;
use std::format;

use kexec::{Duration, Status};

use super::{BACKEND, Machine, OTHER, PATH, STATE};
use crate::client::frontend::{End, State};

/// A frontend that has gone so far: 0 not begun, 1 waits for the backend, 2 has offered its link, 3 is connected.
fn at_stage(stage: u32) -> Machine {
    let mut machine = Machine::new();
    if stage >= 1 {
        machine.go_pending();
    }
    if stage >= 2 {
        machine.backend(State::InitWait);
        machine.go_pending();
    }
    if stage >= 3 {
        machine.backend(State::Connected);
        machine.go_pending();
    }
    machine
}

#[test]
fn keys_and_state_are_told_at_once_and_the_device_runs_when_both_ends_are_connected() {
    let mut machine = Machine::offered();
    machine.tree.write(&format!("{BACKEND}/feature-multi"), "1");
    assert_eq!(machine.states(), "13");
    let [ring, channel] =
        ["ring-ref", "event-channel"].map(|name| machine.tree.get(&format!("{PATH}/{name}")));
    assert_eq!(
        (ring.as_deref(), channel.as_deref()),
        (Some("8"), Some("0"))
    );
    assert_eq!(machine.script.trace(), "connect");
    machine.backend(State::Connected);
    assert_eq!(machine.states(), "4");
    assert_eq!(machine.script.trace(), "run");
}

#[test]
fn nothing_is_made_before_the_backend_has_said_what_it_offers() {
    let mut machine = Machine::new();
    assert_eq!(machine.states(), "1");
    for early in [State::Initialising, State::Closing, State::Closed] {
        machine.backend(early);
        assert_eq!(machine.states(), "");
    }
    assert_eq!(machine.links(), 0);
    machine.backend(State::InitWait);
    machine.connect_from_initialising();
}

#[test]
fn a_driver_that_closes_waits_for_the_backend_before_the_link_ends() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.closing.set();
    assert_eq!(machine.states(), "5");
    assert_eq!(machine.links(), 1);
    machine.backend(State::Closing);
    assert_eq!(machine.states(), "6");
    assert_eq!(machine.links(), 1, "the backend may still use it");
    machine.backend(State::Closed);
    assert_eq!(machine.go(), Poll::Ready(Ok(End::Closed)));
    assert_eq!(machine.script.trace(), "disconnect");
    assert_eq!(machine.tree.written(STATE), "");
}

#[test]
fn a_driver_may_close_in_every_state() {
    for stage in 0..4 {
        let mut machine = at_stage(stage);
        machine.closing.set();
        if stage >= 2 {
            machine.go_pending();
            machine.backend(State::Closed);
        }
        assert_eq!(machine.go(), Poll::Ready(Ok(End::Closed)), "stage {stage}");
        assert_eq!(machine.tree.get(STATE).as_deref(), Some("6"));
    }
}

#[test]
fn a_device_that_ends_or_fails_is_closed() {
    for (result, ended) in [
        (Ok(()), Ok(End::Closed)),
        (Err(Status::DISK_FULL), Err(Status::DISK_FULL)),
    ] {
        let mut machine = Machine::offered();
        machine.connect();
        *machine.script.result.lock().expect("lock") = Some(result);
        machine.script.finish.notify();
        assert_eq!(machine.states(), "5");
        machine.backend(State::Closed);
        assert_eq!(machine.go(), Poll::Ready(ended));
        assert_eq!(machine.script.trace(), "disconnect");
        assert_eq!(machine.tree.written(STATE), "6");
    }
}

#[test]
fn a_device_that_cannot_connect_leaves_the_frontend_closed() {
    let mut machine = Machine::offered();
    *machine.script.refuse.lock().expect("lock") = Some(Status::INSUFFICIENT_RESOURCES);
    let ended = Poll::Ready(Err(Status::INSUFFICIENT_RESOURCES));
    assert_eq!(machine.go(), ended);
    assert_eq!(machine.tree.written(STATE), "16");
    assert_eq!(machine.tree.get(&format!("{PATH}/ring-ref")), None);
}

#[test]
fn a_backend_that_does_not_answer_is_waited_for_five_seconds_in_each_step() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.closing.set();
    assert_eq!(machine.states(), "5");
    machine.session.advance(Duration::from_millis(4900));
    assert_eq!(machine.states(), "");
    machine.session.advance(Duration::from_millis(200));
    assert_eq!(machine.states(), "6");
    assert_eq!(machine.links(), 1);
    machine.session.advance(Duration::from_millis(5100));
    assert_eq!(machine.go(), Poll::Ready(Ok(End::Closed)));
    assert_eq!(machine.links(), 0);
}

#[test]
fn a_backend_that_closes_and_is_offline_ends_the_device() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.tree.write(&format!("{BACKEND}/online"), "0");
    machine.backend(State::Closing);
    assert_eq!(machine.states(), "56");
    machine.backend(State::Closed);
    assert_eq!(machine.go(), Poll::Ready(Ok(End::Offline)));
}

#[test]
fn a_backend_that_closes_by_itself_is_asked_again_after_a_pause() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.backend(State::Closed);
    assert_eq!(machine.states(), "56");
    assert_eq!(machine.script.trace(), "disconnect");
    machine.session.advance(Duration::from_millis(900));
    assert_eq!(machine.states(), "");
    machine.session.advance(Duration::from_millis(200));
    assert_eq!(machine.states(), "1");
    machine.backend(State::InitWait);
    machine.connect_from_initialising();
}

#[test]
fn a_backend_that_is_started_anew_is_connected_anew_whatever_it_died_in() {
    for died in [State::InitWait, State::Initialised, State::Connected] {
        for again in [State::Initialising, State::Unknown] {
            let mut machine = Machine::offered();
            machine.go_pending();
            machine.backend(died);
            machine.go_pending();
            machine.tree.written(STATE);
            match again {
                State::Unknown => machine.tree.remove(BACKEND),
                state => machine.backend(state),
            }
            machine.go_pending();
            machine.session.advance(Duration::from_millis(1100));
            machine.go_pending();
            assert_eq!(machine.links(), 0, "{died:?} {again:?}");
            assert_eq!(machine.tree.written(STATE), "1", "{died:?} {again:?}");
            machine.backend(State::InitWait);
            machine.connect_from_initialising();
        }
    }
}

#[test]
fn a_backend_that_dies_while_the_link_is_made_cancels_that() {
    let mut machine = Machine::offered();
    *machine.script.slow.lock().expect("lock") = true;
    assert_eq!(machine.states(), "1");
    assert_eq!(machine.links(), 1);
    machine.backend(State::Initialising);
    assert_eq!(machine.states(), "1");
    assert_eq!(machine.links(), 0);
    *machine.script.slow.lock().expect("lock") = false;
    machine.backend(State::InitWait);
    machine.connect_from_initialising();
    assert_eq!(machine.script.trace(), "connect run");
}

#[test]
fn a_backend_that_was_moved_is_left_and_the_new_one_connected() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.tree.write(&format!("{OTHER}/state"), "2");
    machine.tree.write("device/toy/0/backend", OTHER);
    // The old one is dead, and nobody says so.
    assert_eq!(machine.states(), "5");
    machine.session.advance(Duration::from_millis(5100));
    assert_eq!(machine.states(), "6");
    machine.tree.write("device/toy/0/backend-id", "3");
    machine.session.advance(Duration::from_millis(5100));
    assert_eq!(machine.states(), "13");
    assert_eq!(machine.script.trace(), "disconnect connect");
    let channel = machine.tree.get(&format!("{PATH}/event-channel"));
    assert_eq!(channel.as_deref(), Some("3"));
    machine.tree.write(&format!("{OTHER}/state"), "4");
    assert_eq!(machine.states(), "4");
    // The old one is of no interest any more.
    machine.backend(State::Closed);
    assert_eq!(machine.states(), "");
}

#[test]
fn a_backend_that_still_serves_a_predecessor_is_closed_first() {
    let mut machine = Machine::new();
    machine.backend(State::Connected);
    assert_eq!(machine.states(), "5");
    machine.backend(State::Closing);
    assert_eq!(machine.states(), "6");
    machine.backend(State::Closed);
    assert_eq!(machine.states(), "1");
    machine.backend(State::InitWait);
    machine.connect_from_initialising();
}

#[test]
fn after_a_suspend_the_link_is_dropped_without_a_word_and_made_anew() {
    for stage in 0..3 {
        let mut machine = Machine::new();
        machine.go_pending();
        if stage >= 1 {
            machine.backend(State::InitWait);
            machine.go_pending();
        }
        if stage >= 2 {
            machine.backend(State::Connected);
            machine.go_pending();
        }
        machine.script.trace();
        // The new host's toolstack.
        machine.tree.write(STATE, "1");
        machine.tree.write("device/toy/0/backend", OTHER);
        machine.tree.write(&format!("{OTHER}/state"), "2");
        machine.tree.written(STATE);
        machine.suspend.resume();
        assert_eq!(machine.states(), "13", "stage {stage}");
        let trace = if stage == 0 {
            "connect"
        } else {
            "disconnect connect"
        };
        assert_eq!(machine.script.trace(), trace);
        assert_eq!(machine.links(), 1);
    }
}

#[test]
fn a_device_that_fails_by_a_suspend_is_connected_anew() {
    let mut machine = Machine::offered();
    machine.connect();
    // The device sees that its channel is dead before the frontend has read a key.
    *machine.script.result.lock().expect("lock") = Some(Err(Status::DEVICE_NOT_CONNECTED));
    machine.script.finish.notify();
    machine.tree.write(STATE, "1");
    machine.backend(State::InitWait);
    machine.tree.hold(true);
    machine.suspend.resume();
    machine.go_pending();
    assert_eq!(machine.script.trace(), "disconnect");
    machine.tree.written(STATE);
    machine.tree.hold(false);
    while machine.tree.step() {}
    assert_eq!(machine.states(), "13");
}

#[test]
fn keys_that_are_gone_end_the_frontend_in_every_state_and_nothing_is_made_anew() {
    for stage in 0..4 {
        let mut machine = at_stage(stage);
        machine.tree.remove(PATH);
        assert_eq!(machine.go(), Poll::Ready(Ok(End::Removed)), "stage {stage}");
        assert_eq!(machine.tree.get(STATE), None);
        assert_eq!(machine.tree.get(&format!("{PATH}/ring-ref")), None);
    }
}

#[test]
fn a_backend_is_reconfigured_without_losing_the_link() {
    let mut machine = Machine::offered();
    machine.connect();
    machine.backend(State::Reconfiguring);
    assert_eq!(machine.states(), "7");
    machine.tree.write(&format!("{BACKEND}/size"), "42");
    machine.backend(State::Reconfigured);
    assert_eq!(machine.states(), "4");
    assert_eq!(machine.script.trace(), "size=42 run");
    machine.backend(State::Connected);
    assert_eq!(machine.states(), "");
    assert_eq!(machine.links(), 1);
}
