// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the core on a counting platform, stepped by hand.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: these tests keep its contract by boxing it"
)]

use core::future::{Future, pending, poll_fn};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::string::String;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use super::{Budget, Core, DriveError, Outcome};
use crate::atomic::count;
use crate::platform::Counting;
use crate::task::{HEADER_SIZE, JoinHandle};
use crate::{Aborted, Status, task};

struct Rig(Box<Core<Counting>>);

impl Rig {
    fn new() -> Self {
        Self(Box::new(Core::new(Counting::default())))
    }
    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        // SAFETY: boxed, and `drop` checks that it is empty.
        unsafe { self.0.spawn(task!("test"), None, future) }.expect("spawn")
    }
    fn run(&self) -> usize {
        match self.0.run(Budget::polls(usize::MAX)) {
            Outcome::Idle { polls } => polls,
            other => panic!("{other:?}"),
        }
    }
    fn pends(&self) -> usize {
        self.0.platform().take_pends()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.close();
            let _ = self.0.run(Budget::polls(usize::MAX));
            assert!(self.0.is_empty(), "{} blocks left", self.0.blocks());
        }
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    core::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A future that keeps its waker where the test finds it, and finishes when told.
#[derive(Clone, Default)]
struct Probe {
    waker: Arc<Mutex<Option<Waker>>>,
    done: Arc<AtomicBool>,
    polls: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

struct DropFlag(Arc<AtomicBool>);
impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Probe {
    fn future(&self) -> impl Future<Output = u32> + Send + 'static {
        let this = self.clone();
        let flag = DropFlag(self.dropped.clone());
        poll_fn(move |context| {
            let _ = &flag;
            this.polls.fetch_add(1, Ordering::SeqCst);
            *this.waker.lock().expect("lock") = Some(context.waker().clone());
            if this.done.load(Ordering::SeqCst) {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        })
    }
    fn waker(&self) -> Waker {
        self.waker
            .lock()
            .expect("lock")
            .clone()
            .expect("polled before")
    }
    fn forget(&self) {
        *self.waker.lock().expect("lock") = None;
    }
}

// A header is at most 96 bytes.
const _: () = assert!(HEADER_SIZE <= 96);

#[test]
fn spawn_is_one_allocation_and_one_pend_and_ends_with_one_free() {
    let rig = Rig::new();
    let mut handle = rig.spawn(async { 5 });
    assert_eq!((rig.0.platform().allocations(), rig.pends()), (1, 1));
    assert_eq!(poll(&mut handle), Poll::Pending);
    assert_eq!(rig.run(), 1);
    assert_eq!(poll(&mut handle), Poll::Ready(Ok(5)));
    drop(handle);
    rig.run();
    assert_eq!((rig.0.blocks(), rig.0.platform().frees()), (0, 1));
}

#[test]
fn first_wake_is_two_read_modify_writes_and_a_duplicate_is_one() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    rig.pends();
    let waker = probe.waker();
    assert_eq!(count(|| waker.wake_by_ref()).0, 2);
    assert_eq!(rig.pends(), 1, "from idle exactly one pend");
    assert_eq!(count(|| waker.wake_by_ref()).0, 1);
    assert_eq!(rig.pends(), 0);
    assert_eq!(rig.run(), 1, "two wakes, one poll");
    drop((waker, handle));
    probe.forget();
}

#[test]
fn what_a_caller_wakes_in_a_run_of_its_own_is_polled_there_without_a_pend() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    rig.pends();
    let waker = probe.waker();
    let value = rig.0.run_with(Budget::polls(4), || {
        waker.wake_by_ref();
        assert_eq!(probe.polls.load(Ordering::SeqCst), 1, "not inside");
        9
    });
    assert_eq!((value, probe.polls.load(Ordering::SeqCst)), (9, 2));
    assert_eq!(rig.pends(), 0);
    // Beyond the bound it is pended for, as at the end of any run.
    rig.0.run_with(Budget::polls(0), || waker.wake_by_ref());
    assert_eq!((probe.polls.load(Ordering::SeqCst), rig.pends()), (2, 1));
    assert_eq!(rig.run(), 1);
    drop((waker, handle));
    probe.forget();
}

#[test]
fn what_a_caller_wakes_inside_a_run_is_left_to_that_run() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    rig.pends();
    let (waker, core) = (probe.waker(), core::ptr::from_ref(&*rig.0).addr());
    let outer = rig.spawn(async move {
        // SAFETY: the core outlives its tasks.
        let core = unsafe { &*(core as *const Core<Counting>) };
        core.run_with(Budget::polls(4), || waker.wake_by_ref());
    });
    assert_eq!((rig.pends(), rig.run(), rig.pends()), (1, 2, 0));
    assert_eq!(probe.polls.load(Ordering::SeqCst), 2);
    drop((outer, handle));
    probe.forget();
}

#[test]
fn many_tasks_woken_from_idle_are_one_pend_and_run_in_order() {
    let rig = Rig::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let probes: Vec<_> = (0..8).map(|_| Probe::default()).collect();
    let handles: Vec<_> = (0..8)
        .map(|index| {
            let (probe, order) = (probes[index].clone(), order.clone());
            rig.spawn(async move {
                let mut inner = Box::pin(probe.future());
                poll_fn(|context| {
                    order.lock().expect("lock").push(index);
                    inner.as_mut().poll(context)
                })
                .await;
            })
        })
        .collect();
    assert_eq!(rig.pends(), 1);
    rig.run();
    order.lock().expect("lock").clear();
    for index in [3, 1, 7, 0] {
        probes[index].waker().wake();
    }
    assert_eq!(rig.pends(), 1);
    rig.run();
    assert_eq!(*order.lock().expect("lock"), [3, 1, 7, 0]);
    drop(handles);
    probes.iter().for_each(Probe::forget);
}

#[test]
fn a_wake_while_running_does_not_pend() {
    let rig = Rig::new();
    let probe = Probe::default();
    let parked = rig.spawn(probe.future());
    rig.run();
    let waker = probe.waker();
    let other = rig.spawn(async move { waker.wake() });
    rig.pends();
    assert_eq!(rig.run(), 2, "the waking task and the woken one");
    assert_eq!(rig.pends(), 0);
    drop((parked, other));
    probe.forget();
}

#[test]
fn a_task_that_wakes_itself_lets_the_others_run_first() {
    let rig = Rig::new();
    let trace = Arc::new(Mutex::new(String::new()));
    let make = |name: char| {
        let trace = trace.clone();
        let mut left = 3;
        poll_fn(move |context| {
            trace.lock().expect("lock").push(name);
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    };
    let handles = [
        rig.spawn(make('a')),
        rig.spawn(make('b')),
        rig.spawn(make('c')),
    ];
    rig.run();
    assert_eq!(*trace.lock().expect("lock"), "abcabcabc");
    drop(handles);
}

#[test]
fn cancel_of_a_parked_task_drops_its_future_at_once_whatever_wakers_live() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    let waker = probe.waker();
    handle.abort();
    rig.run();
    assert!(probe.dropped.load(Ordering::SeqCst));
    assert_eq!(rig.0.blocks(), 1, "wakers keep the block, not the future");
    drop(handle);
    probe.forget();
    assert_eq!(rig.0.blocks(), 1);
    drop(waker);
    rig.run();
    assert_eq!(rig.0.blocks(), 0);
}

#[test]
fn the_joiner_is_woken_after_the_future_is_dropped() {
    let rig = Rig::new();
    let probe = Probe::default();
    let inner = rig.spawn(probe.future());
    let dropped = probe.dropped.clone();
    let outer = rig.spawn(async move {
        let value = inner.await;
        (value, dropped.load(Ordering::SeqCst))
    });
    rig.run();
    probe.done.store(true, Ordering::SeqCst);
    probe.waker().wake();
    rig.run();
    let mut outer = outer;
    assert_eq!(poll(&mut outer), Poll::Ready(Ok((Ok(7), true))));
    probe.forget();
}

#[test]
fn the_last_reference_dropped_anywhere_only_queues_the_block() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    handle.abort();
    rig.run();
    drop(handle);
    rig.pends();
    let frees = rig.0.platform().frees();
    let waker = probe.waker.lock().expect("lock").take();
    drop(waker);
    assert_eq!(rig.0.platform().frees(), frees, "not freed by the dropper");
    assert_eq!(rig.pends(), 1);
    rig.run();
    assert_eq!(rig.0.platform().frees(), frees + 1);
}

#[test]
fn spawn_out_of_memory_gives_the_future_back() {
    let rig = Rig::new();
    rig.0.platform().fail_allocation(1);
    let probe = Probe::default();
    // SAFETY: boxed; see `Rig`.
    let error = unsafe { rig.0.spawn(task!("oom"), None, probe.future()) }.expect_err("no memory");
    assert_eq!(error.status, Status::INSUFFICIENT_RESOURCES);
    assert_eq!((rig.0.blocks(), rig.pends()), (0, 0));
    assert!(!probe.dropped.load(Ordering::SeqCst));
    let mut future = Box::pin(error.future);
    assert_eq!(poll(&mut future), Poll::Pending);
    drop(future);
    probe.forget();
}

#[test]
fn a_used_up_budget_pends_again_and_keeps_the_order() {
    let rig = Rig::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let handles: Vec<_> = (0..100)
        .map(|index| {
            let order = order.clone();
            rig.spawn(async move { order.lock().expect("lock").push(index) })
        })
        .collect();
    rig.pends();
    assert_eq!(rig.0.run(Budget::DPC), Outcome::More { polls: 64 });
    assert_eq!(rig.pends(), 1);
    assert_eq!(rig.0.run(Budget::DPC), Outcome::Idle { polls: 36 });
    assert_eq!(rig.pends(), 0);
    assert_eq!(*order.lock().expect("lock"), (0..100).collect::<Vec<_>>());
    drop(handles);
}

#[test]
fn slow_polls_end_an_activation_by_time() {
    let rig = Rig::new();
    let handles: Vec<_> = (0..40).map(|_| rig.spawn(async {})).collect();
    rig.0.platform().tick(30);
    // The clock is read at the start and every eight polls: 30 us, then 60 us.
    assert_eq!(rig.0.run(Budget::DPC), Outcome::More { polls: 16 });
    rig.0.platform().tick(0);
    rig.run();
    drop(handles);
}

#[test]
fn cancelled_tasks_are_dropped_within_the_budget_of_an_activation() {
    let rig = Rig::new();
    let handles: Vec<_> = (0..100).map(|_| rig.spawn(pending::<()>())).collect();
    rig.run();
    rig.0.close();
    rig.pends();
    assert_eq!(rig.0.run(Budget::DPC), Outcome::More { polls: 0 });
    let finished = |wanted: bool| {
        let count = |handle: &&JoinHandle<()>| handle.is_finished() == wanted;
        handles.iter().filter(count).count()
    };
    assert_eq!((finished(true), rig.pends()), (64, 1));
    assert_eq!(rig.0.run(Budget::DPC), Outcome::Idle { polls: 0 });
    assert_eq!(finished(true), 100);
}

#[test]
fn an_inline_drive_from_inside_a_poll_is_an_error() {
    let rig = Rig::new();
    let address = core::ptr::from_ref(&*rig.0).addr();
    let mut handle = rig.spawn(async move {
        // SAFETY: the task runs inside `rig.run`, so the core is alive.
        unsafe { &*(address as *const Core<Counting>) }.drive(1)
    });
    rig.run();
    assert_eq!(
        poll(&mut handle),
        Poll::Ready(Ok(Err(DriveError::Reentrant)))
    );
}

#[test]
fn an_inline_drive_waits_bounded_for_another_processor() {
    let rig = Rig::new();
    let core = &*rig.0;
    let inside = Arc::new(AtomicBool::new(false));
    let leave = Arc::new(AtomicBool::new(false));
    let (a, b) = (inside.clone(), leave.clone());
    let first = rig.spawn(async move {
        a.store(true, Ordering::SeqCst);
        while !b.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    core.platform().tick(1_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Counting::run_as(2);
            core.run(Budget::polls(10))
        });
        while !inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        assert_eq!(core.drive(10), Err(DriveError::Busy), "bounded");
        leave.store(true, Ordering::SeqCst);
    });
    core.platform().tick(0);
    assert!(core.drive(10).expect("free again").idle);
    drop(first);
}

#[test]
fn close_refuses_spawns_and_drops_parked_futures() {
    let rig = Rig::new();
    let probe = Probe::default();
    let mut handle = rig.spawn(probe.future());
    rig.run();
    probe.forget();
    rig.pends();
    rig.0.close();
    assert_eq!(rig.pends(), 1);
    rig.run();
    assert!(probe.dropped.load(Ordering::SeqCst));
    // SAFETY: boxed; see `Rig`.
    let refused = unsafe { rig.0.spawn(task!("late"), None, pending::<()>()) };
    assert_eq!(refused.expect_err("closed").status, Status::DELETE_PENDING);
    assert_eq!(poll(&mut handle), Poll::Ready(Err(Aborted)));
}

#[test]
fn live_tasks_are_listed_by_name_with_their_polls() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    probe.waker().wake();
    let mut seen = Vec::new();
    rig.0.for_each_task(|task| {
        seen.push((task.info.name(), task.polls, task.scheduled, task.complete))
    });
    assert_eq!(seen, [("test", 1, true, false)]);
    rig.0.for_each_task(|task| {
        assert!(task.info.file().ends_with("tests.rs") && task.info.line > 0)
    });
    drop(handle);
    probe.forget();
}

#[test]
fn an_inspection_shows_tasks_at_rest_and_pends_for_what_is_ready() {
    let rig = Rig::new();
    let probe = Probe::default();
    let handle = rig.spawn(probe.future());
    rig.run();
    rig.pends();
    let mut names = Vec::new();
    assert!(rig.0.inspect(|task| names.push(task.info.name())));
    assert_eq!((names.as_slice(), rig.pends()), (&["test"][..], 0));
    // Ready before the inspection, and woken in the middle of one: each is run by the one pend that follows.
    probe.waker().wake();
    assert_eq!(rig.pends(), 1);
    assert!(rig.0.inspect(|task| assert!(task.scheduled)));
    assert_eq!((rig.pends(), rig.run()), (1, 1));
    assert!(rig.0.inspect(|_| probe.waker().wake()));
    assert_eq!((rig.pends(), rig.run()), (1, 1));
    assert_eq!((rig.run(), rig.pends()), (0, 0));
    drop(handle);
    probe.forget();
}

#[test]
fn an_inspection_inside_a_run_shows_and_beside_one_on_another_processor_does_not() {
    let rig = Rig::new();
    // Boxed for the life of the rig, whose drop ends the task.
    // SAFETY: boxed, and the rig outlives the task.
    let core: &'static Core<Counting> = unsafe { &*core::ptr::from_ref(&*rig.0) };
    let handle = rig.spawn(async move {
        let mut inside = 0;
        assert!(core.inspect(|_| inside += 1));
        Counting::run_as(2);
        let beside = core.inspect(|_| panic!("shown"));
        Counting::run_as(1);
        (inside, beside)
    });
    rig.run();
    let mut handle = handle;
    assert_eq!(poll(&mut handle), Poll::Ready(Ok((1, false))));
}

#[test]
fn wakes_from_many_threads_are_never_lost() {
    const THREADS: usize = 4;
    const EACH: usize = 20_000;
    let rig = Rig::new();
    let core = &*rig.0;
    let sum = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let (total, last, out) = (sum.clone(), seen.clone(), slot.clone());
    let handle = rig.spawn(poll_fn(move |context| {
        *out.lock().expect("lock") = Some(context.waker().clone());
        last.store(total.load(Ordering::SeqCst), Ordering::SeqCst);
        Poll::<()>::Pending
    }));
    core.run(Budget::DPC);
    let waker = slot.lock().expect("lock").clone().expect("polled");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (waker, sum) = (waker.clone(), sum.clone());
            scope.spawn(move || {
                for _ in 0..EACH {
                    sum.fetch_add(1, Ordering::SeqCst);
                    let mine = waker.clone();
                    mine.wake();
                }
            });
        }
        for runner in 2..4 {
            let sum = sum.clone();
            scope.spawn(move || {
                Counting::run_as(runner);
                while sum.load(Ordering::SeqCst) < THREADS * EACH {
                    let _ = core.run(Budget::DPC);
                }
            });
        }
    });
    rig.run();
    assert_eq!(seen.load(Ordering::SeqCst), THREADS * EACH);
    drop((waker, handle));
    *slot.lock().expect("lock") = None;
}
