// SPDX-License-Identifier: BSD-2-Clause
//! Loom models of the core: `cargo xtask test --only loom`.
//!
//! Modelled are the run queue's word and the tasks' state words (this crate's atomics). The join waker's slot is the crate
//! atomic-waker, which has models of its own; its operations are single steps here. Freed blocks are poisoned and kept until the
//! end of a run, so that a use after free is seen.
//!
//! Each model lists the mutants that it must kill: small edits of the core, by their names in `kexec/mutants`, under which it
//! fails. `cargo xtask mutants` shows that.

use core::future::poll_fn;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use std::sync::Arc;

use loom::thread;

use super::model::{CountWake, Machine, OnDrop, Probe, poll};
use super::{Budget, Outcome};
use crate::Aborted;
use crate::nt::sys::fake;

/// With at most three preemptions, where the full space would take minutes.
pub(super) fn bounded(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

/// A wake against a drain that goes idle: the task is polled after the wake.
///
/// Mutants: `finish-stores-idle`, `scheduled-cleared-after-poll`, `duplicate-wake-is-a-load`.
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
/// Mutants: `push-pends-only-behind-tasks`, `every-wake-pushes`.
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
/// Mutants: `abort-does-not-schedule`.
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
/// Mutants: `joiner-does-not-look-again`, `joiner-woken-before-complete`.
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
/// Mutants: `output-of-a-detached-task-leaks`, `output-dropped-by-both`.
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
/// Mutants: `last-release-queues-nothing`, `runner-does-not-free`, `release-of-one-of-two-frees`.
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
/// Mutants: `sweep-marks-without-queuing`.
#[test]
fn loom_shutdown_against_wake() {
    bounded(|| {
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
/// Mutants: `sweep-does-not-kick`, `kick-needs-no-pend`.
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

/// A second wake against the poll that completes: no poll after the end, the block freed once.
///
/// Mutants: `wake-after-complete-pushes`, `completed-task-polled-again`, `queued-task-released-by-complete`,
/// `complete-keeps-its-reference`.
#[test]
fn loom_wake_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let first = probe.take();
        let second = first.clone();
        probe.done.store(1, Ordering::SeqCst);
        first.wake();
        let waking = thread::spawn(move || second.wake());
        machine.serve();
        waking.join().expect("thread");
        machine.finish();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
    });
}

/// Two processors that both run the executor, on a task that wakes itself: never two polls at once, the other is told `Busy`.
///
/// Mutants: `second-runner-let-in`, `take-forgets-running`.
#[test]
fn loom_two_runners_never_poll_at_once() {
    loom::model(|| {
        let machine = Machine::new();
        let inside = Arc::new(AtomicUsize::new(0));
        let (flag, mut left) = (inside.clone(), 2);
        let handle = machine.spawn(poll_fn(move |context| {
            assert_eq!(
                flag.fetch_add(1, Ordering::SeqCst),
                0,
                "polled twice at once"
            );
            left -= 1;
            // A step of the scheduler in the middle of the poll.
            context.waker().wake_by_ref();
            assert_eq!(flag.fetch_sub(1, Ordering::SeqCst), 1);
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        let other = machine.clone();
        let runner = thread::spawn(move || other.0.run(Budget::polls(100)));
        let mine = machine.0.run(Budget::polls(100));
        let theirs = runner.join().expect("thread");
        assert!(
            (mine, theirs) != (Outcome::Busy, Outcome::Busy),
            "nobody ran"
        );
        assert!(handle.is_finished());
        drop(handle);
        // Whoever ran took what the one pend asked for.
        machine.0.platform().pends.fetch_add(1, Ordering::SeqCst);
        machine.finish();
    });
}

/// A run whose budget ends against a wake: nothing is lost, the run pends again, and the order stays.
///
/// Mutants: `pause-drops-what-came`, `pause-does-not-pend`, `budget-drops-the-popped-task`.
#[test]
fn loom_budget_against_wake() {
    loom::model(|| {
        let machine = Machine::new();
        let probes = [(); 3].map(|()| Probe::default());
        let handles = [0, 1, 2].map(|index| machine.spawn(probes[index].future()));
        machine.serve();
        let [one, two, three] = [0, 1, 2].map(|index| probes[index].take());
        for probe in &probes {
            probe.done.store(1, Ordering::SeqCst);
        }
        one.wake();
        // The second may be taken when the budget ends, and the third come before the pause.
        let waking = thread::spawn(move || {
            two.wake();
            three.wake();
        });
        machine.0.platform().pends.store(0, Ordering::SeqCst);
        let _ = machine.0.run(Budget::polls(1));
        waking.join().expect("thread");
        machine.serve();
        let seen = [0, 1, 2].map(|index| probes[index].seen.load(Ordering::SeqCst));
        assert_eq!(seen, [1, 1, 1], "a wake was lost");
        drop(handles);
        machine.0.platform().pends.fetch_add(1, Ordering::SeqCst);
        machine.finish();
    });
}

/// A spawn against a shutdown: refused, or cancelled and freed; nobody touches the core after it was found empty.
///
/// Mutants: `spawn-does-not-look-at-closed`, `spawn-counts-after-its-look`.
#[test]
fn loom_spawn_against_shutdown() {
    bounded(|| {
        let machine = Machine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let guard = OnDrop(drops.clone());
        let other = machine.clone();
        let stopping = thread::spawn(move || {
            other.0.close();
            other.serve();
            if other.0.is_empty() {
                other.0.platform().ended.swap(true, Ordering::SeqCst);
            }
        });
        let spawned = machine.try_spawn(async move {
            let _guard = guard;
            core::future::pending::<()>().await;
        });
        drop(spawned);
        stopping.join().expect("thread");
        machine.finish();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

/// A spawn in a group against the group's cancel: refused, or its future is dropped by the next drain.
///
/// Mutants: `kick-taken-without-a-look`, `group-entered-without-a-second-look`.
#[test]
fn loom_group_cancel_against_spawn() {
    loom::model(|| {
        let session = fake::boot();
        let machine = Machine::new();
        let group = machine.group();
        let drops = Arc::new(AtomicUsize::new(0));
        let guard = OnDrop(drops.clone());
        let shared = group.clone();
        let cancelling = thread::spawn(move || shared.cancel());
        let future = async move {
            let _guard = guard;
            core::future::pending::<()>().await;
        };
        let spawned = machine.try_spawn_in(&group, future);
        machine.serve();
        cancelling.join().expect("thread");
        machine.serve();
        assert_eq!(
            group.count(),
            0,
            "refused {}, pends {:?}, {:?}",
            spawned.is_err(),
            machine.0.platform().pends,
            group
        );
        // A refused future came back with the error.
        let refused = usize::from(spawned.is_err());
        assert_eq!(drops.load(Ordering::SeqCst) + refused, 1);
        drop((spawned, group));
        machine.finish();
        drop((machine, session));
    });
}

/// A wait for a group to drain against its last task's end: ready, or woken.
///
/// Mutants: `drained-does-not-look-again`, `drained-woken-before-the-count`.
#[test]
fn loom_drained_against_last_end() {
    loom::model(|| {
        let session = fake::boot();
        let machine = Machine::new();
        let group = machine.group();
        machine
            .try_spawn_in(&group, async {})
            .expect("spawn")
            .detach();
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        let count = Arc::new(CountWake(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut drained = group.drained();
        let first = poll(&mut drained, &waker);
        runner.join().expect("thread");
        assert!(first.is_ready() || count.0.load(Ordering::SeqCst) == 1);
        assert!(poll(&mut drained, &waker).is_ready());
        drop(drained);
        drop(group);
        machine.finish();
        drop((machine, session));
    });
}

/// A group cancelled while its last task ends and the executor's memory goes: nobody touches the core once it was found empty.
///
/// Mutants: `canceller-does-not-keep-the-executor`, `group-without-tasks-uses-the-executor`.
#[test]
fn loom_group_cancel_against_last_end() {
    loom::model(|| {
        let session = fake::boot();
        let machine = Machine::new();
        let group = machine.group();
        machine
            .try_spawn_in(&group, async {})
            .expect("spawn")
            .detach();
        let shared = group.clone();
        let cancelling = thread::spawn(move || shared.cancel());
        machine.serve();
        if machine.0.is_empty() {
            machine.0.platform().ended.swap(true, Ordering::SeqCst);
        }
        cancelling.join().expect("thread");
        if !machine.0.platform().ended.load(Ordering::SeqCst) {
            machine.finish();
        }
        assert_eq!(group.count(), 0);
        drop(group);
        drop((machine, session));
    });
}

/// The last waker dropped while the executor is stopped and its memory goes: whoever frees the block, nobody touches the core once
/// it was found empty.
///
/// Mutants: `pend-after-publishing-is-not-counted`.
#[test]
fn loom_last_drop_against_stop() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        machine.0.close();
        machine.serve();
        let dropping = thread::spawn(move || drop(waker));
        let _ = machine.0.run(Budget::polls(100));
        if machine.0.is_empty() {
            machine.0.platform().ended.swap(true, Ordering::SeqCst);
        }
        dropping.join().expect("thread");
        if !machine.0.platform().ended.load(Ordering::SeqCst) {
            machine.finish();
        }
    });
}
