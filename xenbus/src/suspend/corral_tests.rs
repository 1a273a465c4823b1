// SPDX-License-Identifier: BSD-2-Clause
//! Gatherings with threads as processors: order, abandonment, retries.

use super::*;
use core::sync::atomic::{AtomicBool, AtomicU64};
use kexec::nt::sys::fake;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::vec::Vec;

/// Processors 1.. as threads that attend when they are summoned. Time stands still, however long the host lets one of them wait,
/// until the story is about one that does not follow; then a second passes with each look.
struct Threads {
    corral: Arc<Corral>,
    work: Arc<Script>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// This one never comes.
    absent: Option<u32>,
    /// This one comes and stands still.
    stuck: Option<u32>,
    dismissed: Mutex<Vec<u32>>,
    clock: AtomicU64,
}

struct Script {
    log: Mutex<Vec<String>>,
    outcome: Result<Outcome>,
    captured: Result,
    all_came: AtomicBool,
}

impl Script {
    fn new(outcome: Result<Outcome>) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            outcome,
            captured: Ok(()),
            all_came: AtomicBool::new(false),
        })
    }

    fn say(&self, what: &str, cpu: u32) {
        let level = kexec::irql::current();
        self.log
            .lock()
            .expect("log")
            .push(std::format!("{what} cpu{cpu} irql{level}"));
    }
}

impl Work for Script {
    fn captured(&self) -> Result {
        self.say("captured", 0);
        self.all_came.store(true, Ordering::SeqCst);
        self.captured
    }
    fn suspend(&self) -> Result<Outcome> {
        self.say("suspend", 0);
        self.outcome
    }
    fn early(&self, cpu: u32, owner: bool) {
        self.say(if owner { "early owner" } else { "early" }, cpu);
    }
    fn late(&self, cpu: u32, owner: bool) {
        self.say(if owner { "late owner" } else { "late" }, cpu);
    }
}

impl Threads {
    fn new(total: u32, work: Arc<Script>) -> Self {
        Self {
            corral: Arc::new(Corral::new(total)),
            work,
            handles: Mutex::default(),
            absent: None,
            stuck: None,
            dismissed: Mutex::default(),
            clock: AtomicU64::new(0),
        }
    }

    fn hold(&self) -> (Result<Outcome>, Vec<String>) {
        let outcome = self.corral.hold(self, &*self.work);
        for handle in self.handles.lock().expect("handles").drain(..) {
            handle.join().expect("a processor panicked");
        }
        (outcome, self.work.log.lock().expect("log").clone())
    }
}

impl Processors for Threads {
    fn summon(&self, cpu: u32) {
        if self.absent == Some(cpu) {
            return;
        }
        if self.stuck == Some(cpu) {
            self.corral.arrived.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let (corral, work) = (self.corral.clone(), self.work.clone());
        let handle = fake::spawn(cpu, move || {
            let _dpc = Raised::to_dispatch();
            corral.attend(cpu, &*work);
        });
        self.handles.lock().expect("handles").push(handle);
    }
    fn dismiss(&self, cpu: u32) {
        self.dismissed.lock().expect("dismissed").push(cpu);
    }
    fn current(&self) -> u32 {
        0
    }
    fn now(&self) -> Instant {
        let stuck = self.stuck.is_some() && self.work.all_came.load(Ordering::SeqCst);
        let passed = u64::from(stuck || self.absent.is_some());
        let seconds = self.clock.fetch_add(passed, Ordering::SeqCst);
        Instant::from_ticks(seconds * 10_000_000)
    }
}

#[test]
fn a_resume_runs_every_phase_everywhere_and_the_owners_part_first() {
    let _session = fake::boot();
    for total in 1..=4 {
        let threads = Threads::new(total, Script::new(Ok(Outcome::Resumed)));
        let (outcome, log) = threads.hold();
        assert_eq!(outcome, Ok(Outcome::Resumed));
        assert_eq!(
            log[..3],
            [
                "captured cpu0 irql2",
                "suspend cpu0 irql15",
                "early owner cpu0 irql15"
            ]
        );
        let others = total as usize - 1;
        let mut early = log[3..3 + others].to_vec();
        early.sort();
        let wanted = |what, level| {
            let line = move |cpu| std::format!("{what} cpu{cpu} irql{level}");
            (1..total).map(line).collect::<Vec<_>>()
        };
        assert_eq!(early, wanted("early", 15));
        assert_eq!(log[3 + others], "late owner cpu0 irql2");
        let mut late = log[4 + others..].to_vec();
        late.sort();
        assert_eq!(late, wanted("late", 2));
        assert_eq!(kexec::irql::current(), 0);
    }
}

#[test]
fn a_cancelled_or_refused_suspend_runs_neither_phase_and_releases_everybody() {
    let _session = fake::boot();
    for outcome in [Ok(Outcome::Cancelled), Err(Status::INVALID_PARAMETER)] {
        let threads = Threads::new(4, Script::new(outcome));
        let (got, log) = threads.hold();
        assert_eq!(got, outcome);
        assert_eq!(log, ["captured cpu0 irql2", "suspend cpu0 irql15"]);
    }
}

#[test]
fn a_processor_that_does_not_come_ends_the_attempt_with_everybody_released() {
    let _session = fake::boot();
    let mut threads = Threads::new(4, Script::new(Ok(Outcome::Resumed)));
    threads.absent = Some(2);
    let (outcome, log) = threads.hold();
    assert_eq!(outcome, Err(Status::IO_TIMEOUT));
    assert!(log.is_empty(), "{log:?}");
    assert_eq!(*threads.dismissed.lock().expect("dismissed"), [1, 2, 3]);
    // It comes after all: it leaves at once.
    let _dpc = Raised::to_dispatch();
    threads.corral.attend(2, &*threads.work);
}

#[test]
fn a_processor_that_leaves_its_interrupts_on_ends_the_attempt_with_everybody_released() {
    let _session = fake::boot();
    let mut threads = Threads::new(3, Script::new(Ok(Outcome::Resumed)));
    threads.stuck = Some(1);
    let (outcome, log) = threads.hold();
    assert_eq!(outcome, Err(Status::IO_TIMEOUT));
    assert_eq!(log, ["captured cpu0 irql2"]);
    assert_eq!(kexec::irql::current(), 0);
    assert_eq!(threads.corral.raised.load(Ordering::SeqCst), 0);
    assert_eq!(*threads.dismissed.lock().expect("dismissed"), [1, 2]);
}

#[test]
fn what_the_capture_finds_out_can_still_call_it_off() {
    let _session = fake::boot();
    let script = Arc::new(Script {
        log: Mutex::default(),
        outcome: Ok(Outcome::Resumed),
        captured: Err(Status::RETRY),
        all_came: AtomicBool::new(false),
    });
    let (outcome, log) = Threads::new(3, script).hold();
    assert_eq!(outcome, Err(Status::RETRY));
    assert_eq!(log, ["captured cpu0 irql2"]);
}

#[test]
fn whoever_raises_alone_goes_back_and_is_not_counted() {
    let _session = fake::boot();
    let corral = Corral::new(2);
    assert!(corral.try_mask().is_none());
    assert_eq!(kexec::irql::current(), 0);
    assert_eq!(corral.raised.load(Ordering::SeqCst), 0);
    // With the other one there it stays.
    corral.raised.store(1, Ordering::SeqCst);
    let off = corral.try_mask().expect("all are there");
    assert_eq!(kexec::irql::current(), 15);
    drop(off);
    assert_eq!(kexec::irql::current(), 0);
}
