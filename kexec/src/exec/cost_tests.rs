// SPDX-License-Identifier: BSD-2-Clause
//! What the core costs, counted: read-modify-writes of whole life cycles. A change that adds one fails here.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: these tests keep its contract by boxing it"
)]

use core::future::{Future, poll_fn};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::{Arc, OnceLock};

use super::{Budget, Core, Outcome};
use crate::atomic::count;
use crate::platform::Counting;
use crate::task;
use crate::task::{JoinHandle, TaskStorage};

fn machine() -> Box<Core<Counting>> {
    Box::new(Core::new(Counting::default()))
}

fn spawn<F: Future<Output: Send> + Send + 'static>(
    core: &Core<Counting>,
    future: F,
) -> JoinHandle<F::Output> {
    // SAFETY: the tests box their cores and drop them empty (asserted by each).
    unsafe { core.spawn(task!("cost"), None, future) }.expect("spawn")
}

/// Polls made, and read-modify-writes of one run.
fn run(core: &Core<Counting>) -> (usize, usize) {
    match count(|| core.run(Budget::polls(usize::MAX))) {
        (writes, Outcome::Idle { polls }) => (polls, writes),
        other => panic!("{other:?}"),
    }
}

fn join<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, crate::Aborted>> {
    core::pin::Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_life_of_a_joined_task_is_six_read_modify_writes_of_its_own() {
    let core = machine();
    // Out of idle, so that what is counted is not the run's or the pend's.
    let other = spawn(&core, async {});
    let (writes, mut handle) = count(|| spawn(&core, async { 5 }));
    assert_eq!(writes, 2, "spawn: the block counted, the push");
    assert_eq!(
        run(&core),
        (2, 2 + 2 * 2),
        "start and finish; begin and end of two polls"
    );
    assert_eq!(count(|| join(&mut handle)), (0, Poll::Ready(Ok(5))));
    other.detach();
    assert_eq!(count(|| drop(handle)).0, 1, "the push to be freed");
    assert_eq!(
        run(&core),
        (0, 2 + 2),
        "start and finish; two blocks counted off"
    );
    assert!(core.is_empty());
}

#[test]
fn a_wake_from_outside_and_its_run_are_five_read_modify_writes() {
    let core = machine();
    let waker = Arc::new(OnceLock::<Waker>::new());
    let slot = waker.clone();
    let handle = spawn(
        &core,
        poll_fn(move |context| {
            slot.get_or_init(|| context.waker().clone());
            Poll::<()>::Pending
        }),
    );
    run(&core);
    let wake = || waker.get().expect("polled").wake_by_ref();
    for _ in 0..3 {
        assert_eq!(count(wake).0, 2, "the flag, the push");
        assert_eq!(run(&core), (1, 3), "start, the flag, finish");
    }
    let mut wakes = None;
    core.for_each_task(|task| wakes = Some(task.wakes));
    // Counted by plain stores: the figures above hold with the feature, too.
    assert_eq!(wakes, Some(if cfg!(feature = "trace") { 3 } else { 0 }));
    drop((handle, waker));
    run(&core);
    assert!(core.is_empty());
}

#[test]
fn a_task_that_wakes_itself_costs_four_read_modify_writes_a_poll() {
    const POLLS: usize = 100;
    let core = machine();
    let mut left = POLLS;
    let handle = spawn(
        &core,
        poll_fn(move |context| {
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }),
    );
    // The flag set, the push, the take, the flag cleared; start, the first flag, completion and finish around them.
    assert_eq!(run(&core), (POLLS, (POLLS - 1) * 4 + 4));
    drop(handle);
    run(&core);
    assert!(core.is_empty());
}

#[test]
fn a_joiner_that_waits_costs_one_more_and_is_woken_once() {
    let core = machine();
    let mut inner = spawn(&core, async { 1 });
    assert_eq!(
        count(|| join(&mut inner)),
        (1, Poll::Pending),
        "tells the runner"
    );
    assert_eq!(count(|| join(&mut inner)), (0, Poll::Pending), "it knows");
    let outer = spawn(&core, inner);
    assert_eq!(run(&core).0, 2);
    assert!(outer.is_finished());
    drop(outer);
    run(&core);
    assert!(core.is_empty());
}

#[test]
fn a_task_in_storage_of_the_caller_is_no_allocation_and_gives_it_back() {
    static ROOM: TaskStorage<192> = TaskStorage::new();
    let core = machine();
    let spawn = |value: u32| {
        let future = async move { value };
        // SAFETY: the core is boxed and dropped empty; the storage is static.
        unsafe { core.spawn_stored(&ROOM, task!("stored"), None, future) }
    };
    core.platform().fail_allocation(1);
    for value in [5, 6] {
        assert!(ROOM.is_free());
        let mut handle = spawn(value).expect("no memory is needed");
        let refused = spawn(0).expect_err("one at a time");
        assert_eq!(refused.status, crate::Status::DEVICE_BUSY);
        run(&core);
        assert_eq!(join(&mut handle), Poll::Ready(Ok(value)));
        drop(handle);
        assert!(!ROOM.is_free(), "its executor has not run since");
        run(&core);
    }
    assert!(ROOM.is_free() && core.is_empty());
    let platform = core.platform();
    assert_eq!((platform.allocations(), platform.frees()), (0, 0));
}

/// Printed by the test command, for readers.
#[test]
fn the_counts_of_a_wake() {
    let core = machine();
    let slot = Arc::new(OnceLock::new());
    let inner = slot.clone();
    let future = poll_fn(move |context| {
        if inner.get().is_some() {
            return Poll::Ready(());
        }
        let _ = inner.set(context.waker().clone());
        Poll::Pending
    });
    let (spawned, handle) = count(|| spawn(&core, future));
    let blocks = core.blocks();
    let pended = core.platform().take_pends();
    assert_eq!((blocks, pended), (1, 1));
    let (_, parked) = run(&core);
    let waker = slot.get().expect("polled").clone();
    let wake = || {
        (
            count(|| waker.wake_by_ref()).0,
            core.platform().take_pends(),
        )
    };
    let (first, again) = (wake(), wake());
    assert_eq!((first, again), ((2, 1), (1, 0)));
    let (_, done) = run(&core);
    std::println!("counts: spawn {spawned} read-modify-writes, {blocks} block, {pended} pend");
    std::println!(
        "counts: run to the first await {parked}, run to the end {done} read-modify-writes"
    );
    std::println!(
        "counts: first wake {} read-modify-writes, {} pend",
        first.0,
        first.1
    );
    std::println!(
        "counts: duplicate wake {} read-modify-write, {} pends",
        again.0,
        again.1
    );
    std::println!("counts: header {} bytes", task::HEADER_SIZE);
    drop(handle);
    drop(waker);
    // The last waker lives in the future's own slot.
    drop(slot);
    run(&core);
    assert!(core.is_empty());
}
