// SPDX-License-Identifier: BSD-2-Clause
//! Whole suspends over kexec's fake kernel: four processors, DPCs, callbacks.

use super::*;
use core::sync::atomic::AtomicUsize;
use kexec::irql;
use kexec::nt::sys::fake;
use std::sync::{Arc as StdArc, Mutex as StdMutex};
use std::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Prepare,
    Suspend,
    Each(u32),
    Early,
    Late,
    Finish(Result<Outcome>),
    Call(usize, usize, u8),
}

#[derive(Clone)]
struct Script {
    log: StdArc<StdMutex<Vec<Event>>>,
    outcome: Result<Outcome>,
    /// Removes this callback when one is made.
    remove: StdArc<AtomicUsize>,
    service: StdArc<StdMutex<Option<Arc<Suspend<Script>>>>>,
}

impl Script {
    fn new(outcome: Result<Outcome>) -> Self {
        Self {
            log: StdArc::default(),
            outcome,
            remove: StdArc::default(),
            service: StdArc::default(),
        }
    }

    fn say(&self, event: Event) {
        self.log.lock().expect("log").push(event);
    }

    fn log(&self) -> Vec<Event> {
        core::mem::take(&mut *self.log.lock().expect("log"))
    }
}

impl Services for Script {
    fn prepare(&self, _passive: Passive) {
        self.say(Event::Prepare);
    }
    fn suspend(&self) -> Result<Outcome> {
        assert_eq!((irql::current(), cpu::current()), (15, 0));
        self.say(Event::Suspend);
        self.outcome
    }
    fn early_each(&self, cpu: u32) {
        assert_eq!((irql::current(), cpu::current()), (15, cpu));
        self.say(Event::Each(cpu));
    }
    fn early(&self) {
        self.say(Event::Early);
    }
    fn late(&self) {
        assert_eq!((irql::current(), cpu::current()), (2, 0));
        self.say(Event::Late);
    }
    fn finish(&self, _passive: Passive, outcome: Result<Outcome>) {
        self.say(Event::Finish(outcome));
    }
    fn call(&self, function: usize, argument: usize) {
        assert_eq!(cpu::current(), 0);
        self.say(Event::Call(function, argument, irql::current()));
        let remove = self.remove.swap(0, Ordering::SeqCst);
        if remove != 0 {
            let service = self.service.lock().expect("service").clone();
            assert!(service.expect("set").callbacks().deregister(remove));
        }
    }
}

#[test]
fn callbacks_run_after_the_bus_in_their_order_and_level_and_the_count_moves_once() {
    let _session = fake::boot();
    let script = Script::new(Ok(Outcome::Resumed));
    let service = Suspend::try_new(script.clone()).expect("memory");
    let callbacks = service.callbacks();
    let late = callbacks.register(Phase::Late, (10, 1)).expect("memory");
    let early = callbacks.register(Phase::Early, (20, 2)).expect("memory");
    let gone = callbacks.register(Phase::Early, (30, 3)).expect("memory");
    let last = callbacks.register(Phase::Late, (40, 4)).expect("memory");
    assert!(callbacks.deregister(gone));
    assert!(!callbacks.deregister(gone));
    let passive = Passive::assert();
    for round in 1..=2 {
        assert_eq!(Suspend::trigger(&service, passive), Ok(Outcome::Resumed));
        assert_eq!(service.count(), round);
        let mut log = script.log();
        // The other processors' part of EARLY is in any order.
        log[5..8].sort_by_key(|event| matches!(event, Event::Each(n) if *n > 0).then_some(0));
        assert_eq!(
            log[..4],
            [Event::Prepare, Event::Suspend, Event::Each(0), Event::Early]
        );
        assert_eq!(log[4], Event::Call(20, 2, 15));
        assert!((1..4).all(|cpu| log[5..8].contains(&Event::Each(cpu))));
        assert_eq!(
            log[8..],
            [
                Event::Late,
                Event::Call(10, 1, 2),
                Event::Call(40, 4, 2),
                Event::Finish(Ok(Outcome::Resumed))
            ]
        );
    }
    for id in [late, early, last] {
        assert!(callbacks.deregister(id));
    }
    service.stop(passive);
    assert_eq!(
        Suspend::trigger(&service, passive),
        Err(Status::DELETE_PENDING)
    );
}

#[test]
fn a_cancelled_suspend_calls_nobody_and_counts_nothing() {
    let _session = fake::boot();
    for outcome in [Ok(Outcome::Cancelled), Err(Status::ACCESS_DENIED)] {
        let script = Script::new(outcome);
        let service = Suspend::try_new(script.clone()).expect("memory");
        for phase in [Phase::Early, Phase::Late] {
            service.callbacks().register(phase, (1, 1)).expect("memory");
        }
        assert_eq!(Suspend::trigger(&service, Passive::assert()), outcome);
        assert_eq!(
            script.log(),
            [Event::Prepare, Event::Suspend, Event::Finish(outcome)]
        );
        assert_eq!(service.count(), 0);
    }
}

#[test]
fn a_late_callback_may_remove_itself_and_one_that_has_not_run() {
    let _session = fake::boot();
    let script = Script::new(Ok(Outcome::Resumed));
    let service = Suspend::try_new(script.clone()).expect("memory");
    *script.service.lock().expect("service") = Some(service.clone());
    let callbacks = service.callbacks();
    let ids: Vec<usize> = (0..3)
        .map(|n| callbacks.register(Phase::Late, (n, 0)).expect("memory"))
        .collect();
    let calls = |log: Vec<Event>| -> Vec<usize> {
        let call = |event: &Event| match event {
            Event::Call(function, ..) => Some(*function),
            _ => None,
        };
        log.iter().filter_map(call).collect()
    };
    script.remove.store(ids[0], Ordering::SeqCst);
    Suspend::trigger(&service, Passive::assert()).expect("resumed");
    assert_eq!(calls(script.log()), [0, 1, 2]);
    script.remove.store(ids[2], Ordering::SeqCst);
    Suspend::trigger(&service, Passive::assert()).expect("resumed");
    assert_eq!(calls(script.log()), [1]);
    *script.service.lock().expect("service") = None;
}

#[test]
fn an_allocation_that_fails_anywhere_ends_the_attempt_before_the_hypercall() {
    let session = fake::boot();
    let script = Script::new(Ok(Outcome::Resumed));
    let service = Suspend::try_new(script.clone()).expect("memory");
    service
        .callbacks()
        .register(Phase::Early, (1, 1))
        .expect("memory");
    for n in 0..100 {
        session.fail_alloc(Some(n));
        let outcome = Suspend::trigger(&service, Passive::assert());
        session.fail_alloc(None);
        let log = script.log();
        if outcome == Ok(Outcome::Resumed) {
            assert!(n > 4, "{n} places failed");
            return;
        }
        assert!(outcome.is_err());
        assert!(!log.contains(&Event::Suspend), "{log:?}");
        assert_eq!(service.count(), 0);
    }
    panic!("never succeeds");
}

#[test]
fn a_snapshot_without_room_asks_for_another_try() {
    let _session = fake::boot();
    let callbacks = Callbacks::new();
    let snapshot = Snapshot::try_new(&callbacks).expect("memory");
    for n in 0..17 {
        callbacks.register(Phase::Early, (n, n)).expect("memory");
    }
    assert_eq!(snapshot.fill(&callbacks), Err(Status::RETRY));
    assert_eq!(snapshot.calls().count(), 0);
    let snapshot = Snapshot::try_new(&callbacks).expect("memory");
    snapshot.fill(&callbacks).expect("room");
    assert!(snapshot.calls().eq((0..17).map(|n| (n, n))));
}
