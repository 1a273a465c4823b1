// SPDX-License-Identifier: BSD-2-Clause
//! Each test compares the whole trace of what the filter did with a request.

use std::{cell::RefCell, rc::Rc, string::String, vec, vec::Vec};

use super::*;
use crate::pnp::Pnp;

const NOT_SUPPORTED: i32 = 0xC000_00BB_u32.cast_signed();
const DELETE_PENDING: i32 = 0xC000_0056_u32.cast_signed();
const PENDING: i32 = 0x103;
const FAILED: i32 = 0xC000_0001_u32.cast_signed();

/// What happened, in order.
type Trace = Rc<RefCell<Vec<String>>>;

struct World {
    trace: Trace,
    pnp: RefCell<Pnp>,
    removing: bool,
}

impl World {
    fn new() -> Self {
        Self {
            trace: Trace::default(),
            pnp: RefCell::new(Pnp::new()),
            removing: false,
        }
    }

    /// Dispatches a request that the lower driver answers with `answer`; returns the status and the trace.
    fn send(&self, major: u8, code: u8, answer: i32) -> (i32, Vec<String>) {
        let request = Fake {
            trace: self.trace.clone(),
            codes: (major, code),
            status: NOT_SUPPORTED,
            answer,
            over: false,
        };
        let status = dispatch(self, request);
        (status, self.trace.take())
    }

    fn pnp(&self, code: u8) -> (i32, Vec<String>) {
        self.send(MAJOR_PNP, code, STATUS_SUCCESS)
    }
}

struct Guard(Trace);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.borrow_mut().push("unlock".into());
    }
}

impl Object for &World {
    type Guard = Guard;

    fn enter(self) -> Result<Guard, i32> {
        if self.removing {
            return Err(DELETE_PENDING);
        }
        self.trace.borrow_mut().push("lock".into());
        Ok(Guard(self.trace.clone()))
    }

    fn drain(self, guard: Guard) {
        core::mem::forget(guard);
        self.trace.borrow_mut().push("drain".into());
    }

    fn pnp<R>(self, with: impl FnOnce(&mut Pnp) -> R) -> R {
        with(&mut self.pnp.borrow_mut())
    }

    fn usage_down(self) {
        self.trace.borrow_mut().push("flags down".into());
    }

    fn usage_up(self) {
        self.trace.borrow_mut().push("flags up".into());
    }

    fn leave(self) {
        self.trace.borrow_mut().push("leave".into());
    }
}

struct Fake {
    trace: Trace,
    codes: (u8, u8),
    status: i32,
    answer: i32,
    over: bool,
}

impl Drop for Fake {
    fn drop(&mut self) {
        assert!(self.over || std::thread::panicking(), "a request was lost");
    }
}

impl Request for Fake {
    fn major(&self) -> u8 {
        self.codes.0
    }

    fn minor(&self) -> u8 {
        self.codes.1
    }

    fn status(&self) -> i32 {
        self.status
    }

    fn set_status(&mut self, status: i32) {
        self.status = status;
    }

    fn pass(mut self) -> i32 {
        self.over = true;
        self.trace
            .borrow_mut()
            .push(std::format!("pass {:#x}", self.status));
        self.answer
    }

    fn forward_and_wait(mut self) -> Self {
        self.trace
            .borrow_mut()
            .push(std::format!("forward {:#x}", self.status));
        self.status = self.answer;
        self
    }

    fn complete(mut self) -> i32 {
        self.over = true;
        self.trace
            .borrow_mut()
            .push(std::format!("complete {:#x}", self.status));
        self.status
    }
}

#[test]
fn every_other_major_function_passes_untouched_under_the_lock() {
    let world = World::new();
    for major in (0..0x1b).chain([0x1c]) {
        let (status, trace) = world.send(major, 0, PENDING);
        assert_eq!(status, PENDING, "{major:#x}");
        assert_eq!(trace, ["lock", "pass 0xc00000bb", "unlock"]);
    }
}

#[test]
fn a_start_goes_to_the_lower_drivers_first() {
    let world = World::new();
    let (status, trace) = world.pnp(minor::START_DEVICE);
    assert_eq!(status, STATUS_SUCCESS);
    assert_eq!(
        trace,
        ["lock", "forward 0xc00000bb", "unlock", "complete 0x0"]
    );
    assert_eq!(world.pnp.borrow().state(), State::Started);
}

#[test]
fn a_failed_start_is_passed_up_and_changes_nothing() {
    let world = World::new();
    let (status, _) = world.send(MAJOR_PNP, minor::START_DEVICE, FAILED);
    assert_eq!(status, FAILED);
    assert_eq!(world.pnp.borrow().state(), State::Added);
}

#[test]
fn what_the_filter_agrees_to_goes_down_with_success() {
    for code in [
        minor::QUERY_STOP_DEVICE,
        minor::CANCEL_STOP_DEVICE,
        minor::STOP_DEVICE,
        minor::QUERY_REMOVE_DEVICE,
        minor::CANCEL_REMOVE_DEVICE,
        minor::SURPRISE_REMOVAL,
    ] {
        let world = World::new();
        assert_eq!(
            world.pnp(code).1,
            ["lock", "pass 0x0", "unlock"],
            "{code:#x}"
        );
    }
}

#[test]
fn what_the_filter_does_not_know_goes_down_as_it_came() {
    let world = World::new();
    for code in [0x07, 0x08, 0x09, 0x0d, 0x13, 0x14, 0x18] {
        assert_eq!(
            world.pnp(code).1,
            ["lock", "pass 0xc00000bb", "unlock"],
            "{code:#x}"
        );
    }
}

#[test]
fn a_removal_lets_the_lower_drivers_go_then_drains_then_leaves() {
    let world = World::new();
    world.pnp(minor::START_DEVICE);
    world.pnp(minor::QUERY_REMOVE_DEVICE);
    let (status, trace) = world.pnp(minor::REMOVE_DEVICE);
    assert_eq!(status, STATUS_SUCCESS);
    assert_eq!(
        trace,
        ["lock", "forward 0x0", "drain", "leave", "complete 0x0"]
    );
}

#[test]
fn a_deleted_device_takes_no_lock_and_touches_no_lower_driver() {
    let world = World::new();
    world.pnp(minor::REMOVE_DEVICE);
    let refused = vec![String::from("complete 0xc000000e")];
    assert_eq!(
        world.pnp(minor::START_DEVICE),
        (STATUS_NO_SUCH_DEVICE, refused.clone())
    );
    // A minor code of another major function is no PnP request.
    assert_eq!(
        world.send(0x16, minor::REMOVE_DEVICE, 0),
        (STATUS_NO_SUCH_DEVICE, refused)
    );
    for code in [minor::REMOVE_DEVICE, minor::SURPRISE_REMOVAL] {
        assert_eq!(
            world.pnp(code),
            (STATUS_SUCCESS, vec!["complete 0x0".into()])
        );
    }
}

#[test]
fn a_request_that_comes_during_removal_is_refused() {
    let mut world = World::new();
    world.removing = true;
    assert_eq!(
        world.send(0, 0, 0),
        (DELETE_PENDING, vec!["complete 0xc0000056".into()])
    );
}

#[test]
fn a_usage_notification_adjusts_the_flags_on_both_ways() {
    let world = World::new();
    let (status, trace) = world.send(MAJOR_PNP, minor::DEVICE_USAGE_NOTIFICATION, FAILED);
    assert_eq!(status, FAILED);
    assert_eq!(
        trace,
        [
            "lock",
            "flags down",
            "forward 0xc00000bb",
            "flags up",
            "unlock",
            "complete 0xc0000001"
        ]
    );
}
