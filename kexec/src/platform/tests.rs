// SPDX-License-Identifier: BSD-2-Clause
//! The same little program on the platforms of a host.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: these tests keep its contract by boxing it"
)]

use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};
use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, Mutex};

use super::{Platform, Stepper, Threads};
use crate::exec::{Budget, Core, Outcome};
use crate::task;
use crate::task::JoinHandle;

fn spawn<P: Platform, F: Future<Output: Send> + Send + 'static>(
    core: &Core<P>,
    future: F,
) -> JoinHandle<F::Output> {
    // SAFETY: the tests box their cores and drop them empty (asserted by each).
    unsafe { core.spawn(task!("platform"), None, future) }.expect("spawn")
}

/// Writes its name at each of three polls.
fn three(name: char, trace: &Arc<Mutex<String>>) -> impl Future<Output = ()> + Send + 'static {
    let (trace, mut left) = (trace.clone(), 3);
    poll_fn(move |context| {
        trace.lock().expect("lock").push(name);
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn the_stepper_makes_one_poll_a_step_in_the_order_of_the_wakes() {
    let core = Box::new(Core::new(Stepper::default()));
    assert!(!Stepper::step(&core), "nobody asked");
    let trace = Arc::new(Mutex::new(String::new()));
    spawn(&core, three('a', &trace)).detach();
    spawn(&core, three('b', &trace)).detach();
    for seen in ["a", "ab", "aba", "abab"] {
        assert!(Stepper::step(&core));
        assert_eq!(*trace.lock().expect("lock"), seen);
    }
    Stepper::settle(&core, 100);
    assert_eq!(*trace.lock().expect("lock"), "ababab");
    assert!(core.is_empty());
}

const LIMITED: Budget = Budget {
    polls: 64,
    micros: 50,
};

/// Tasks that move the clock on by `micros` when they are polled first, and never end, or at once; the outcome of the first run.
fn moved(micros: u64, ends: bool) -> (Box<Core<Stepper>>, Outcome) {
    let core = Box::new(Core::new(Stepper::default()));
    let address = core::ptr::from_ref(&*core).addr();
    for _ in 0..20 {
        spawn(&core, async move {
            // SAFETY: the task runs inside the core's run, so the core is alive.
            let core = unsafe { &*(address as *const Core<Stepper>) };
            core.platform().advance(micros);
            if !ends {
                core::future::pending::<()>().await;
            }
        })
        .detach();
    }
    assert!(core.platform().is_asked());
    let outcome = core.run(LIMITED);
    (core, outcome)
}

fn end(core: &Core<Stepper>) {
    core.close();
    Stepper::settle(core, 100);
    assert!(core.is_empty());
}

#[test]
fn the_stepper_s_clock_ends_an_activation_only_when_a_test_moves_it() {
    let (core, outcome) = moved(0, false);
    assert!(matches!(outcome, Outcome::Idle { polls: 20 }));
    end(&core);
    let (core, outcome) = moved(60, false);
    assert!(matches!(outcome, Outcome::More { polls: 8 }));
    assert!(matches!(core.run(LIMITED), Outcome::More { polls: 8 }));
    assert!(matches!(core.run(LIMITED), Outcome::Idle { polls: 4 }));
    end(&core);
}

#[test]
fn the_clock_is_looked_at_more_often_when_tasks_end() {
    // A task that ends gives its block back, which takes longer than a poll.
    let (core, outcome) = moved(60, true);
    assert!(matches!(outcome, Outcome::More { polls: 2 }));
    assert!(matches!(core.run(LIMITED), Outcome::More { polls: 2 }));
    end(&core);
    // One that is cancelled drops its future as well.
    let core = Box::new(Core::new(Stepper::default()));
    let address = core::ptr::from_ref(&*core).addr();
    struct Slow(usize);
    impl Drop for Slow {
        fn drop(&mut self) {
            // SAFETY: dropped inside the core's run, so the core is alive.
            let core = unsafe { &*(self.0 as *const Core<Stepper>) };
            core.platform().advance(60);
        }
    }
    for _ in 0..20 {
        let slow = Slow(address);
        spawn(&core, async move {
            let _slow = slow;
            core::future::pending::<()>().await;
        })
        .detach();
    }
    assert!(matches!(core.run(LIMITED), Outcome::Idle { polls: 20 }));
    core.close();
    for left in (1..20).rev() {
        assert!(matches!(core.run(LIMITED), Outcome::More { polls: 0 }));
        assert_eq!(core.blocks(), left, "more than one in an activation");
    }
    end(&core);
}

#[test]
fn host_threads_run_what_another_thread_wakes() {
    let core = Box::new(Core::new(Threads::default()));
    std::thread::scope(|scope| {
        scope.spawn(|| Threads::serve(&core, Budget::DPC));
        let (started, start) = std::sync::mpsc::channel::<Waker>();
        let (finished, end) = std::sync::mpsc::channel();
        let mut polled = false;
        let wait = poll_fn(move |context| {
            if core::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            started.send(context.waker().clone()).expect("listened to");
            Poll::Pending
        });
        spawn(&core, async move {
            wait.await;
            finished.send(41).expect("listened to");
        })
        .detach();
        start.recv().expect("polled once").wake();
        assert_eq!(end.recv(), Ok(41));
        core.close();
        core.platform().end();
    });
    let _ = core.run(Budget::DPC);
    assert!(core.is_empty());
}
