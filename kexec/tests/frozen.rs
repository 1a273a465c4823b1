// SPDX-License-Identifier: BSD-2-Clause
//! `poll_on` on the only processor that runs, at HIGH_LEVEL with interrupts off, as between a suspend and its resume: no DPC runs,
//! interrupt time stands still, and only the performance counter moves.
#![cfg(not(windows))]

mod common;

use common::{TAG, stopped};
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kexec::nt::sys::{self, fake};
use kexec::nt::{Arc, Timer, time};
use kexec::sync::{Event, Reset};
use kexec::{Duration, Instant, Status, irql, poll_on, task};

/// Runs `f` at HIGH_LEVEL with interrupts off.
fn frozen<T>(f: impl FnOnce() -> T) -> T {
    let old = sys::KfRaiseIrql(irql::HIGH_LEVEL);
    let enabled = sys::disable_interrupts();
    let value = f();
    assert_eq!(irql::current(), irql::HIGH_LEVEL);
    assert!(enabled);
    sys::enable_interrupts();
    sys::KeLowerIrql(old);
    value
}

#[test]
fn tasks_are_driven_inline_and_their_dpc_finds_nothing_left() {
    stopped(|session, executor| {
        session.run_counter(Duration::from_micros(1));
        let event = Arc::try_new(TAG, Event::new(Reset::Auto, false)).expect("memory");
        let shared = event.clone();
        let waited = frozen(|| {
            let spawned = poll_on(executor, Duration::from_millis(1), async {
                let level = irql::current();
                let set = async move { shared.set() };
                executor.spawn(task!("set"), set).map(|task| {
                    task.detach();
                    level
                })
            });
            assert_eq!(spawned.expect("polled").expect("spawned"), 2);
            let waited = poll_on(executor, Duration::from_secs(1), event.wait());
            assert_eq!(session.queued_dpcs(), 1, "none ran meanwhile");
            waited
        });
        assert_eq!(waited, Ok(()));
        assert_eq!((session.queued_dpcs(), executor.blocks()), (0, 0));
    });
}

#[test]
fn timers_work_by_the_performance_counter_while_interrupt_time_stands_still() {
    stopped(|session, executor| {
        session.run_counter(Duration::from_micros(10));
        let order = Arc::try_new(TAG, Mutex::new(Vec::new())).expect("memory");
        for ms in [30_u64, 10, 20] {
            let (shared, order) = (executor.clone(), order.clone());
            let sleep = async move {
                shared.sleep(Duration::from_millis(ms)).await;
                order.lock().expect("lock").push(ms);
            };
            executor
                .spawn(task!("sleep"), sleep)
                .expect("spawn")
                .detach();
        }
        let before = Instant::now();
        frozen(|| {
            let slept = poll_on(
                executor,
                Duration::from_secs(1),
                executor.sleep(Duration::from_millis(25)),
            );
            assert_eq!(slept, Ok(()));
            let limited = poll_on(executor, Duration::from_millis(1), pending::<()>());
            assert_eq!(limited, Err(Status::IO_TIMEOUT));
        });
        assert_eq!(*order.lock().expect("lock"), [10, 20]);
        assert_eq!(Instant::now(), before, "interrupt time stood still");
        // What is left is due by the clock again, and the KTIMER is set for it.
        session.advance(Duration::from_millis(29));
        assert_eq!(order.lock().expect("lock").len(), 2);
        session.advance(Duration::from_millis(1));
        assert_eq!(*order.lock().expect("lock"), [10, 20, 30]);
    });
}

#[test]
fn a_timer_set_while_frozen_fires_after_it() {
    stopped(|session, executor| {
        session.run_counter(Duration::from_micros(10));
        let done = Arc::try_new(TAG, AtomicBool::new(false)).expect("memory");
        frozen(|| {
            let (shared, flag) = (executor.clone(), done.clone());
            let polled = poll_on(executor, Duration::from_millis(5), async move {
                let timers = shared.clone();
                let sleep = async move {
                    timers.sleep(Duration::from_millis(50)).await;
                    flag.store(true, Ordering::SeqCst);
                };
                shared
                    .spawn(task!("later"), sleep)
                    .map(|task| task.detach())
            });
            assert!(polled.expect("polled").is_ok());
            let limited = poll_on(executor, Duration::from_millis(5), pending::<()>());
            assert_eq!(limited, Err(Status::IO_TIMEOUT));
        });
        session.advance(Duration::from_millis(40));
        assert!(!done.load(Ordering::SeqCst));
        session.advance(Duration::from_millis(20));
        assert!(done.load(Ordering::SeqCst));
    });
}

#[test]
fn a_wait_is_bounded_even_when_no_clock_moves() {
    stopped(|_, executor| {
        let limited = frozen(|| poll_on(executor, Duration::from_micros(100), pending::<()>()));
        assert_eq!(limited, Err(Status::IO_TIMEOUT));
    });
}

#[test]
fn a_task_that_always_wakes_itself_does_not_hold_the_processor() {
    stopped(|session, executor| {
        session.run_counter(Duration::from_micros(1));
        let spins = Arc::try_new(TAG, AtomicU32::new(0)).expect("memory");
        let count = spins.clone();
        let spin = std::future::poll_fn(move |context| {
            count.fetch_add(1, Ordering::SeqCst);
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        });
        let handle = frozen(|| {
            let spun = poll_on(executor, Duration::from_millis(1), async {
                executor.spawn(task!("spin"), spin)
            });
            let limited = poll_on(executor, Duration::from_millis(1), pending::<()>());
            assert_eq!(limited, Err(Status::IO_TIMEOUT));
            // Stopped before the DPC could run it.
            let handle = spun.expect("polled").expect("spawned");
            handle.abort();
            handle
        });
        assert!(spins.load(Ordering::SeqCst) > 256);
        drop(handle);
    });
}

#[test]
fn a_level_between_dispatch_and_high_is_refused() {
    stopped(|_, executor| {
        let old = sys::KfRaiseIrql(11);
        let refused = poll_on(executor, Duration::from_millis(1), pending::<()>());
        sys::KeLowerIrql(old);
        assert_eq!(refused, Err(Status::INVALID_DEVICE_STATE));
    });
}

#[test]
fn the_list_of_tasks_is_printed_from_a_debug_callback() {
    stopped(|session, executor| {
        let spawned = |future| executor.spawn(task!("parked"), future).expect("spawn");
        let task = spawned(pending::<()>());
        frozen(|| executor.for_each_task(|task| kexec::info!("{task}")));
        let log = session.log();
        let line = log.first().expect("a line");
        assert!(
            line.starts_with("task parked (kexec/tests/frozen.rs:")
                && line.ends_with("), parked, 1 polls"),
            "{line}"
        );
        drop(task);
    });
}

#[test]
fn the_counter_is_scaled_to_units_of_interrupt_time() {
    let session = fake::boot();
    let before = time::counter_time();
    session.advance(Duration::from_millis(3));
    assert_eq!(time::counter_time() - before, 30_000);
    let unused = Timer::try_new(TAG, || ()).expect("memory");
    drop(unused);
}
