// SPDX-License-Identifier: BSD-2-Clause
//! Loom models of the core: `RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test -p kexec --lib loom`.
//!
//! Modelled are the run queue's word and the tasks' state words (this crate's atomics). The join waker's slot is the crate
//! atomic-waker, which has models of its own; its operations are single steps here. Freed blocks are poisoned and kept until the
//! end of a run, so that a use after free is seen.
//!
//! Each model lists the mutants that it must kill: changes of one line of the core under which it fails.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use std::sync::Arc;

use loom::thread;

use super::model::{CountWake, Machine, OnDrop, Probe, poll};
use super::{Budget, Outcome};
use crate::Aborted;

/// A wake against a drain that goes idle: the task is polled after the wake.
///
/// Mutants: `RunQueue::finish` stores IDLE instead of comparing; `RunQueue::push` pends only when it found tasks; `Core::step`
/// clears SCHEDULED after the poll; `Header::schedule` returns early on a plain load of SCHEDULED.
#[test]
fn loom_wake_against_drain_and_idle() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let handle = machine.spawn(probe.future());
        machine.serve();
        let waker = probe.take();
        // Scheduled once more, so that the drain below is in the middle of something.
        waker.wake_by_ref();
        let (done, other) = (probe.done.clone(), machine.clone());
        let wake = thread::spawn(move || {
            done.store(1, Ordering::SeqCst);
            waker.wake();
            drop(other);
        });
        machine.serve();
        wake.join().expect("thread");
        machine.serve();
        assert_eq!(probe.seen.load(Ordering::SeqCst), 1, "the wake was lost");
        probe.forget();
        drop(handle);
        machine.finish();
    });
}

/// Two wakers at once: one of them pushes, one pend, one poll.
///
/// Mutants: `Header::schedule` pushes whatever the flag said before; `RunQueue::push` loses the tasks below.
#[test]
fn loom_two_wakes_are_one_push() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let handle = machine.spawn(probe.future());
        machine.serve();
        let waker = probe.take();
        let second = waker.clone();
        let thread = thread::spawn(move || second.wake());
        waker.wake();
        thread.join().expect("thread");
        assert_eq!(machine.0.platform().pends.load(Ordering::SeqCst), 1);
        assert_eq!(
            machine.0.run(Budget::polls(100)),
            Outcome::Idle { polls: 1 }
        );
        probe.forget();
        drop(handle);
        machine.0.platform().pends.store(1, Ordering::SeqCst);
        machine.finish();
    });
}

/// An abort against a poll that completes: the future is dropped once, the handle says which of the two it was.
///
/// Mutants: `Core::complete` releases the executor's reference although SCHEDULED was set; `JoinHandle::abort` sets CANCELLED
/// without scheduling.
#[test]
fn loom_abort_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let mut handle = machine.spawn(probe.future());
        machine.serve();
        probe.done.store(1, Ordering::SeqCst);
        probe.take().wake();
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        handle.abort();
        runner.join().expect("thread");
        machine.serve();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
        let joined = poll(&mut handle, Waker::noop());
        assert!(
            matches!(joined, Poll::Ready(Ok(1) | Err(Aborted))),
            "{joined:?}"
        );
        drop(handle);
        machine.finish();
    });
}

/// A join against a completion: the joiner is either ready or woken.
///
/// Mutants: `JoinHandle::poll` does not look again after registering; `Core::complete` wakes before it sets COMPLETE.
#[test]
fn loom_join_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let mut handle = machine.spawn(async { 9 });
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        let count = Arc::new(CountWake(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let first = poll(&mut handle, &waker);
        runner.join().expect("thread");
        match first {
            Poll::Ready(value) => assert_eq!(value, Ok(9)),
            Poll::Pending => {
                assert_eq!(
                    count.0.load(Ordering::SeqCst),
                    1,
                    "the joiner was not woken"
                );
                assert_eq!(poll(&mut handle, &waker), Poll::Ready(Ok(9)));
            }
        }
        drop(handle);
        machine.finish();
    });
}

/// The handle closed against a completion: the output is dropped once.
///
/// Mutants: `JoinHandle::close` drops the output whenever OUTPUT is set later; `Core::complete` ignores JOIN.
#[test]
fn loom_detach_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = OnDrop(drops.clone());
        let handle = machine.spawn(async move { output });
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        handle.detach();
        runner.join().expect("thread");
        machine.finish();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

/// The last wakers dropped against a completion: the block is freed once, by a run.
///
/// Mutants: `Header::release` frees nothing when it is the last; `Core::step` does not look for blocks without references;
/// `Core::complete` keeps the executor's reference.
#[test]
fn loom_last_drop_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        probe.done.store(1, Ordering::SeqCst);
        waker.wake_by_ref();
        let dropper = thread::spawn(move || drop(waker));
        machine.serve();
        dropper.join().expect("thread");
        machine.finish();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
    });
}

/// A shutdown against a wake: the future is dropped and everything is freed.
///
/// Mutants: `Core::run` looks for a sweep only once, at its start; `RunQueue::take` drops the
/// PENDED tag without looking again.
#[test]
fn loom_shutdown_against_wake() {
    // Bounded: the sweep makes the full space three minutes long.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        let waking = thread::spawn(move || waker.wake());
        machine.0.close();
        machine.serve();
        waking.join().expect("thread");
        probe.forget();
        machine.finish();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
    });
}

/// A shutdown against the last waker's drop, with nobody waking: the shutdown alone makes the executor run.
///
/// Mutants: `CoreHead::sweep` does not kick; `RunQueue::kick` says that no pend is needed.
#[test]
fn loom_shutdown_against_waker_drop() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        let dropping = thread::spawn(move || drop(waker));
        machine.0.close();
        machine.serve();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1, "nobody ran");
        dropping.join().expect("thread");
        machine.finish();
    });
}
