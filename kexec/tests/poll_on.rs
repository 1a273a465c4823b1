// SPDX-License-Identifier: BSD-2-Clause
//! `poll_on` at DISPATCH_LEVEL: it drives the executor, or waits for the processor that does, until its time is up.
#![cfg(not(windows))]

mod common;

use common::{TAG, stopped};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use kexec::nt::Arc;
use kexec::nt::sys::{self, fake};
use kexec::sync::{Event, Reset};
use kexec::{
    DpcExecutor, DriveError, Duration, Instant, Passive, Result, Status, block_on, irql, poll_on,
    task,
};

const LOOK: Duration = Duration::from_millis(1);

fn at<T>(level: u8, f: impl FnOnce() -> T) -> T {
    let old = sys::KfRaiseIrql(level);
    let value = f();
    sys::KeLowerIrql(old);
    value
}

#[test]
fn tasks_and_timers_are_driven_inline() {
    stopped(|session, executor| {
        let event = Arc::try_new(TAG, Event::new(Reset::Auto, false)).expect("memory");
        let shared = event.clone();
        let kernel = session.kernel();
        at(irql::DISPATCH_LEVEL, || {
            executor
                .spawn(task!("set"), async move { shared.set() })
                .expect("spawn")
                .detach();
            let waited = poll_on(executor, Duration::from_secs(1), event.wait());
            assert_eq!(waited, Ok(()));
            // Time passes with each look.
            let begin = Instant::now();
            let mut sleep = pin!(executor.sleep(Duration::from_millis(20)));
            let slept = poll_fn(|cx| {
                kernel.tick(LOOK);
                sleep.as_mut().poll(cx)
            });
            let slept = poll_on(executor, Duration::from_secs(1), slept);
            assert_eq!(slept, Ok(()));
            assert_eq!(begin.elapsed(), Duration::from_millis(20));
            let never = poll_fn(|_| {
                kernel.tick(LOOK);
                Poll::<()>::Pending
            });
            let limited = poll_on(executor, Duration::from_millis(10), never);
            assert_eq!(limited, Err(Status::IO_TIMEOUT));
            assert_eq!(begin.elapsed(), Duration::from_millis(30));
        });
    });
}

#[test]
fn a_drive_inside_a_poll_is_refused() {
    stopped(|_, executor| {
        let shared = executor.clone();
        let handle = executor.spawn(task!("inner"), async move {
            let polled = poll_on(&shared, Duration::from_secs(1), pending::<()>());
            (shared.drive(1).map(|_| ()), polled)
        });
        let result = block_on(Passive::assert(), handle.expect("spawn")).expect("memory");
        assert_eq!(
            result,
            Ok((Err(DriveError::Reentrant), Err(Status::POSSIBLE_DEADLOCK)))
        );
    });
}

/// What holds another processor inside a task of the executor.
#[derive(Default)]
struct Held {
    inside: AtomicBool,
    leave: AtomicBool,
    left: AtomicBool,
}

/// Calls `f` at `level` while another processor stands still in the middle of the executor. A drive gives up at its first look at
/// the performance counter.
fn beside_one_that_stands_still(
    level: u8,
    f: impl FnOnce(&fake::Session, &DpcExecutor, &Held) -> Result,
) -> Result {
    stopped(|session, executor| {
        let held = std::sync::Arc::<Held>::default();
        let (inner, shared) = (held.clone(), executor.clone());
        let other = fake::spawn(1, move || {
            let stand = async move {
                inner.inside.store(true, Ordering::SeqCst);
                while !inner.leave.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                inner.left.store(true, Ordering::SeqCst);
            };
            shared.spawn(task!("held"), stand).expect("spawn").detach();
        });
        while !held.inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        session.run_counter(Duration::from_millis(20));
        let result = at(level, || f(session, executor, &held));
        held.leave.store(true, Ordering::SeqCst);
        other.join().expect("it left");
        result
    })
}

#[test]
fn a_processor_that_stands_still_while_it_runs_the_executor_is_waited_for() {
    let waited = beside_one_that_stands_still(irql::DISPATCH_LEVEL, |_, executor, held| {
        let mut looks = 0;
        let left = poll_fn(|_| {
            looks += 1;
            // It gave up driving twice by then.
            held.leave.fetch_or(looks == 3, Ordering::SeqCst);
            if held.left.load(Ordering::SeqCst) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        poll_on(executor, Duration::from_secs(1), left)
    });
    assert_eq!(waited, Ok(()));
}

#[test]
fn one_that_never_goes_on_is_waited_for_until_time_is_up() {
    let waited = beside_one_that_stands_still(irql::DISPATCH_LEVEL, |session, executor, _| {
        let kernel = session.kernel();
        let (begin, limit) = (Instant::now(), Duration::from_millis(5));
        let never = poll_fn(|_| {
            kernel.tick(LOOK);
            Poll::Pending
        });
        let waited = poll_on(executor, limit, never);
        assert_eq!(begin.elapsed(), limit);
        waited
    });
    assert_eq!(waited, Err(Status::IO_TIMEOUT));
}

#[test]
fn at_high_level_where_it_would_never_go_on_that_is_an_error_at_once() {
    let waited = beside_one_that_stands_still(irql::HIGH_LEVEL, |_, executor, _| {
        assert!(sys::disable_interrupts());
        let waited = poll_on(executor, Duration::from_secs(1), pending());
        sys::enable_interrupts();
        waited
    });
    assert_eq!(waited, Err(Status::DEVICE_BUSY));
}
