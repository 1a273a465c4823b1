// SPDX-License-Identifier: BSD-2-Clause
//! Loom models of the timers: the KTIMER's DPC against a sleeper that goes away, is polled again, or is joined by another.
//!
//! Steps are those of the timers' spin lock and of the tasks' state words; the fake kernel fires the KTIMER's DPC on the thread
//! that moves its clock.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::Arc;

use loom::thread;

use super::loom_models::bounded;
use super::model::{CountWake, Machine};
use crate::nt::sys::fake;
use crate::timer::Timers;
use crate::{Duration, Instant, Passive};

const TICK: Duration = Duration::from_millis(1);

struct Clock {
    timers: Timers,
}

impl Clock {
    fn new() -> Arc<Self> {
        let clock = Arc::new(Self {
            timers: Timers::uninit(),
        });
        clock.start();
        clock
    }

    #[expect(unsafe_code, reason = "the model keeps the timers' contract")]
    fn start(&self) {
        // SAFETY: in an Arc, so it does not move; every model ends with `stop`.
        unsafe { self.timers.init() };
    }

    /// Nothing is set any more, and nothing is left in the list.
    fn stop(&self) {
        assert_eq!(self.timers.next_deadline(), None, "a node is left");
        self.timers.stop(Passive::assert());
    }
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// A sleeping task aborted while its timer fires: its node is out of the list before its block is freed, and its future is
/// dropped once.
///
/// Mutants: `sleep-dropped-in-the-list`.
#[test]
fn loom_timer_fire_against_cancel() {
    bounded(|| {
        let session = fake::boot();
        let kernel = session.kernel();
        let clock = Clock::new();
        let machine = Machine::new();
        let shared = clock.clone();
        let done = Arc::new(AtomicUsize::new(0));
        let flag = done.clone();
        let handle = machine.spawn(async move {
            shared.timers.sleep(TICK).await;
            flag.fetch_add(1, Ordering::SeqCst);
        });
        machine.serve();
        let fire = thread::spawn(move || kernel.tick(TICK));
        drop(handle);
        machine.serve();
        fire.join().expect("thread");
        machine.finish();
        assert!(done.load(Ordering::SeqCst) <= 1);
        clock.stop();
        drop((machine, clock, session));
    });
}

/// A sleeper polled with another waker while its timer fires: ready, or the new waker is woken.
///
/// Mutants: `waker-of-the-first-poll-kept`.
#[test]
fn loom_timer_fire_against_another_waker() {
    loom::model(|| {
        let session = fake::boot();
        let kernel = session.kernel();
        let clock = Clock::new();
        let mut sleep = Box::pin(clock.timers.sleep(TICK));
        let [old, new] = [(); 2].map(|()| Arc::new(CountWake(AtomicUsize::new(0))));
        assert!(poll(sleep.as_mut(), &Waker::from(old.clone())).is_pending());
        let fire = thread::spawn(move || kernel.tick(TICK));
        let second = poll(sleep.as_mut(), &Waker::from(new.clone()));
        fire.join().expect("thread");
        // A poll that looked at the clock before the lock sets the KTIMER as much too late as the lock took.
        session.advance(TICK);
        let woken = new.0.load(Ordering::SeqCst);
        assert!(second.is_ready() || woken == 1, "the sleeper sleeps on");
        assert!(poll(sleep.as_mut(), Waker::noop()).is_ready());
        drop(sleep);
        clock.stop();
        drop((clock, session));
    });
}

/// A later and an earlier deadline set while a timer fires: the KTIMER is set to the first of what is left.
///
/// Mutants: `expiry-does-not-set-the-next-alarm`.
#[test]
fn loom_timer_fire_against_insert() {
    bounded(|| {
        let session = fake::boot();
        let kernel = session.kernel();
        let clock = Clock::new();
        let machine = Machine::new();
        let (start, woken) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let spawn = |ticks: u64| {
            let (shared, woken) = (clock.clone(), woken.clone());
            machine
                .spawn(async move {
                    let deadline = start + Duration::from_millis(ticks);
                    shared.timers.sleep_until(deadline).await;
                    woken.fetch_add(1, Ordering::SeqCst);
                })
                .detach();
        };
        spawn(1);
        spawn(3);
        machine.serve();
        let fire = thread::spawn(move || kernel.tick(TICK));
        spawn(2);
        machine.serve();
        fire.join().expect("thread");
        machine.serve();
        // Only the KTIMER can wake them from here on: whoever was last must have set it. A poll that looked at the clock before
        // the lock sets it as much too late as the lock took.
        for _ in 0..4 {
            session.advance(TICK);
            machine.serve();
        }
        assert_eq!(woken.load(Ordering::SeqCst), 3, "an alarm was not set");
        machine.finish();
        clock.stop();
        drop((machine, clock, session));
    });
}
