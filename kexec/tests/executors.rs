// SPDX-License-Identifier: BSD-2-Clause
//! The NT back ends, timers and blocking edge on the fake kernel.
#![cfg(not(windows))]

mod common;

use common::{TAG, stopped};
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use kexec::nt::sys::fake;
use kexec::nt::{Arc, SpinLock};
use kexec::sync::{Channel, Event, Notify, Reset, WatchValue, oneshot};
use kexec::{
    Aborted, DpcExecutor, Duration, Elapsed, Instant, Passive, PassiveExecutor, Status, block_on,
    irql, task,
};

#[test]
fn a_dpc_task_runs_at_dispatch_level_and_its_output_is_joined_in_a_thread() {
    stopped(|_, executor| {
        let handle = executor
            .spawn(task!("seven"), async { (irql::current(), 7) })
            .expect("spawn");
        let joined = block_on(Passive::assert(), handle).expect("memory");
        assert_eq!(joined, Ok((2, 7)));
    });
}

#[test]
fn a_task_pended_at_dispatch_level_runs_when_the_level_drops() {
    stopped(|_, executor| {
        let lock = SpinLock::new(());
        let ran = std::sync::Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let guard = lock.lock();
        executor
            .spawn(
                task!("later"),
                async move { flag.store(true, Ordering::SeqCst) },
            )
            .expect("spawn")
            .detach();
        assert!(!ran.load(Ordering::SeqCst));
        drop(guard);
        assert!(ran.load(Ordering::SeqCst));
    });
}

#[test]
fn a_targeted_executor_runs_on_its_processor() {
    let _session = fake::boot();
    let executor = DpcExecutor::try_new(TAG, Some(3)).expect("executor");
    let handle = executor
        .spawn(task!("where"), async { kexec::nt::cpu::current() })
        .expect("spawn");
    assert_eq!(block_on(Passive::assert(), handle).expect("memory"), Ok(3));
    assert_eq!(
        DpcExecutor::try_new(TAG, Some(99)).expect_err("no such processor"),
        Status::INVALID_PARAMETER
    );
    executor.stop(Passive::assert());
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    stopped(|session, executor| {
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        for ms in [30_u64, 10, 20] {
            let (shared, order) = (executor.clone(), order.clone());
            let future = async move {
                shared.sleep(Duration::from_millis(ms)).await;
                order.lock().expect("lock").push(ms);
            };
            executor
                .spawn(task!("sleep"), future)
                .expect("spawn")
                .detach();
        }
        session.advance(Duration::from_millis(9));
        assert!(order.lock().expect("lock").is_empty());
        session.advance(Duration::from_millis(100));
        assert_eq!(*order.lock().expect("lock"), [10, 20, 30]);
    });
}

/// Once the last timer has fired the KTIMER is not set, whatever it was set to.
///
/// Mutants: `alarm-thought-to-be-set`.
#[test]
fn a_sleep_that_begins_after_the_last_one_fired_is_woken() {
    stopped(|session, executor| {
        let woken = std::sync::Arc::new(Mutex::new(Vec::new()));
        for ms in [10_u64, 20] {
            let (shared, woken) = (executor.clone(), woken.clone());
            let future = async move {
                shared.sleep(Duration::from_millis(ms)).await;
                woken.lock().expect("lock").push(ms);
            };
            executor
                .spawn(task!("sleep"), future)
                .expect("spawn")
                .detach();
            session.advance(Duration::from_millis(ms));
        }
        assert_eq!(*woken.lock().expect("lock"), [10, 20]);
    });
}

#[test]
fn a_cancelled_sleep_leaves_nothing_behind() {
    stopped(|session, executor| {
        let shared = executor.clone();
        let handle = executor
            .spawn(task!("sleep"), async move {
                shared.sleep(Duration::from_secs(1)).await
            })
            .expect("spawn");
        assert!(executor.timers().next_deadline().is_some());
        drop(handle);
        assert_eq!(executor.timers().next_deadline(), None);
        session.advance(Duration::from_secs(2));
    });
}

#[test]
fn a_timeout_ends_what_does_not_end_and_keeps_what_does() {
    stopped(|session, executor| {
        let shared = executor.clone();
        let late = executor.spawn(task!("late"), async move {
            shared
                .timeout(Duration::from_millis(5), pending::<()>())
                .await
        });
        let shared = executor.clone();
        let soon = executor.spawn(task!("soon"), async move {
            shared.timeout(Duration::from_millis(5), async { 1 }).await
        });
        session.advance(Duration::from_millis(5));
        assert_eq!(
            block_on(Passive::assert(), late.expect("spawn")).expect("memory"),
            Ok(Err(Elapsed))
        );
        assert_eq!(
            block_on(Passive::assert(), soon.expect("spawn")).expect("memory"),
            Ok(Ok(1))
        );
    });
}

#[test]
fn an_interval_ticks_at_multiples_and_skips_what_was_missed() {
    stopped(|session, executor| {
        let ticks = std::sync::Arc::new(Mutex::new(Vec::new()));
        let (shared, out) = (executor.clone(), ticks.clone());
        let start = Instant::now();
        let task = async move {
            let mut interval = shared.interval(Duration::from_millis(10));
            loop {
                interval.tick().await;
                out.lock().expect("lock").push(start.elapsed().as_millis());
            }
        };
        executor.spawn(task!("tick"), task).expect("spawn").detach();
        session.advance(Duration::from_millis(35));
        assert_eq!(*ticks.lock().expect("lock"), [10, 20, 30]);
    });
}

#[test]
fn a_passive_executor_on_a_thread_runs_at_passive_level_and_is_joined() {
    let _session = fake::boot();
    let executor = PassiveExecutor::try_new_thread(TAG, Passive::assert()).expect("executor");
    let handle = executor
        .spawn(task!("level"), async { irql::current() })
        .expect("spawn");
    assert_eq!(block_on(Passive::assert(), handle).expect("memory"), Ok(0));
    executor.stop(Passive::assert());
}

#[test]
fn a_passive_task_is_woken_from_high_level_through_the_dpc() {
    let _session = fake::boot();
    let executor = PassiveExecutor::try_new_thread(TAG, Passive::assert()).expect("executor");
    let notify = Arc::try_new(TAG, Notify::new()).expect("memory");
    let shared = notify.clone();
    let handle = executor
        .spawn(task!("isr"), async move { shared.notified().await })
        .expect("spawn");
    let old = fake_raise(15);
    notify.notify();
    fake_lower(old);
    assert_eq!(block_on(Passive::assert(), handle).expect("memory"), Ok(()));
    executor.stop(Passive::assert());
}

fn fake_raise(level: u8) -> u8 {
    kexec::nt::sys::KfRaiseIrql(level)
}

fn fake_lower(level: u8) {
    kexec::nt::sys::KeLowerIrql(level);
}

#[test]
fn block_on_is_woken_from_high_level_and_its_last_waker_may_go_there() {
    let _session = fake::boot();
    let slot = std::sync::Arc::new(Mutex::new(None::<Waker>));
    let out = slot.clone();
    let waiting = fake::spawn(1, move || {
        let mut first = true;
        let future = std::future::poll_fn(move |context| {
            *out.lock().expect("lock") = Some(context.waker().clone());
            if std::mem::take(&mut first) {
                Poll::Pending
            } else {
                Poll::Ready(3)
            }
        });
        block_on(Passive::assert(), future)
    });
    let first = loop {
        if let Some(waker) = slot.lock().expect("lock").take() {
            break waker;
        }
        std::thread::yield_now();
    };
    let old = fake_raise(15);
    first.wake();
    fake_lower(old);
    assert_eq!(waiting.join().expect("thread"), Ok(3));
    let last = slot.lock().expect("lock").take().expect("polled twice");
    let old = fake_raise(15);
    drop(last);
    fake_lower(old);
}

#[test]
fn a_group_stops_at_dispatch_level_by_inline_drive() {
    stopped(|_, executor| {
        let group = executor.group("fdo").expect("group");
        let handles: Vec<_> = (0..10)
            .map(|_| {
                executor
                    .spawn_in(&group, task!("member"), pending::<()>())
                    .expect("spawn")
            })
            .collect();
        let other = executor
            .spawn(task!("other"), pending::<()>())
            .expect("spawn");
        assert_eq!(group.count(), 10);
        let old = fake_raise(2);
        executor.drain_group(&group, 1000).expect("drained");
        fake_lower(old);
        assert_eq!(group.count(), 0);
        assert!(handles.iter().all(kexec::JoinHandle::is_finished) && !other.is_finished());
        let refused = executor
            .spawn_in(&group, task!("late"), pending::<()>())
            .expect_err("stopped");
        assert_eq!(refused.status, Status::DELETE_PENDING);
        drop((handles, other));
        block_on(Passive::assert(), group.drained()).expect("memory");
    });
}

#[test]
fn stop_cancels_everything_and_a_late_spawn_is_refused() {
    let _session = fake::boot();
    let executor = DpcExecutor::try_new(TAG, None).expect("executor");
    let mut parked = executor
        .spawn(task!("parked"), pending::<()>())
        .expect("spawn");
    let stopper = executor.clone();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(
        std::pin::Pin::new(&mut parked).as_mut().poll(&mut context),
        Poll::Pending
    );
    let thread = fake::spawn(1, move || stopper.stop(Passive::assert()));
    assert_eq!(
        block_on(Passive::assert(), parked).expect("memory"),
        Err(Aborted)
    );
    thread.join().expect("stop");
    let late = executor
        .spawn(task!("late"), async {})
        .expect_err("stopped");
    assert_eq!(late.status, Status::DELETE_PENDING);
}

use std::future::Future;

#[test]
fn an_executor_dropped_without_stop_is_a_bug_check() {
    let result = std::panic::catch_unwind(|| {
        let _session = fake::boot();
        drop(DpcExecutor::try_new(TAG, None).expect("executor"));
    });
    assert!(message(result).contains("dropped without stop"));
}

fn message(result: std::thread::Result<()>) -> String {
    let payload = result.expect_err("must panic");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

#[test]
fn every_failed_allocation_is_an_ordinary_error() {
    for n in 0.. {
        let session = fake::boot();
        session.fail_alloc(Some(n));
        let done = (|| -> kexec::Result<bool> {
            let executor = DpcExecutor::try_new(TAG, None)?;
            let run = || -> kexec::Result {
                let group = executor.group("g")?;
                let handle = executor.spawn_in(&group, task!("work"), async { 1 })?;
                let value = block_on(Passive::assert(), handle)?;
                assert_eq!(value, Ok(1));
                Ok(())
            };
            let result = run();
            executor.stop(Passive::assert());
            result.map(|()| true)
        })();
        let failed = !session.fail_pending();
        match done {
            Ok(_) => assert!(!failed, "allocation {n} failed unnoticed"),
            Err(status) => assert_eq!((status, failed), (Status::INSUFFICIENT_RESOURCES, true)),
        }
        if !failed {
            assert!(n >= 3, "only {n} allocations");
            return;
        }
    }
}

#[test]
fn cross_processor_wakes_reach_a_targeted_task() {
    const WAKES: u32 = 2_000;
    let _session = fake::boot();
    let executor = DpcExecutor::try_new(TAG, Some(2)).expect("executor");
    let notify = Arc::try_new(TAG, Notify::new()).expect("memory");
    let counter = Arc::try_new(TAG, AtomicU32::new(0)).expect("memory");
    let (waits, seen) = (notify.clone(), counter.clone());
    let handle = executor.spawn(task!("counter"), async move {
        while seen.load(Ordering::SeqCst) < WAKES {
            waits.notified().await;
        }
    });
    let (wakes, count) = (notify.clone(), counter.clone());
    let storm = fake::spawn(1, move || {
        let old = fake_raise(11);
        for _ in 0..WAKES {
            count.fetch_add(1, Ordering::SeqCst);
            wakes.notify();
        }
        fake_lower(old);
    });
    assert_eq!(
        block_on(Passive::assert(), handle.expect("spawn")).expect("memory"),
        Ok(())
    );
    storm.join().expect("storm");
    executor.stop(Passive::assert());
}

#[test]
fn stop_during_a_storm_of_wakes_is_clean() {
    for round in 0..20_u32 {
        let _session = fake::boot();
        let executor = DpcExecutor::try_new(TAG, (round % 2 == 0).then_some(3)).expect("executor");
        let notify = Arc::try_new(TAG, Notify::new()).expect("memory");
        let waits = notify.clone();
        let serve = async move {
            loop {
                waits.notified().await;
            }
        };
        let handle = executor.spawn(task!("serve"), serve).expect("spawn");
        let end = std::sync::Arc::new(AtomicBool::new(false));
        let (wakes, over) = (notify.clone(), end.clone());
        let storm = fake::spawn(1, move || {
            while !over.load(Ordering::SeqCst) {
                let old = fake_raise(11);
                wakes.notify();
                fake_lower(old);
            }
        });
        for _ in 0..round {
            std::thread::yield_now();
        }
        let stopper = executor.clone();
        let stop = fake::spawn(2, move || stopper.stop(Passive::assert()));
        let joined = block_on(Passive::assert(), handle).expect("memory");
        assert_eq!(joined, Err(Aborted));
        stop.join().expect("stop");
        assert_eq!(executor.blocks(), 0);
        end.store(true, Ordering::SeqCst);
        storm.join().expect("storm");
    }
}

#[test]
fn a_cancelled_wait_leaves_no_waker_behind_in_what_it_waited_for() {
    stopped(|_, executor| {
        let notify = Arc::try_new(TAG, Notify::new()).expect("memory");
        let channel = Arc::try_new(TAG, Channel::<u8, 1>::new()).expect("memory");
        let value = Arc::try_new(TAG, WatchValue::new(0)).expect("memory");
        let event = Arc::try_new(TAG, Event::new(Reset::Auto, false)).expect("memory");
        let (sender, receiver) = oneshot::try_new::<u8>(TAG).expect("memory");
        let group = executor.group("other").expect("group");
        let member = executor
            .spawn_in(&group, task!("member"), pending::<()>())
            .expect("spawn");
        let (a, b, c, d, e) = (
            notify.clone(),
            channel.clone(),
            value.clone(),
            event.clone(),
            group.clone(),
        );
        let waits = [
            executor
                .spawn(task!("notify"), async move { a.notified().await })
                .expect("spawn"),
            executor
                .spawn(task!("channel"), async move {
                    let _ = b.recv().await;
                })
                .expect("spawn"),
            executor
                .spawn(task!("value"), async move {
                    let _ = c.changed(&mut 0).await;
                })
                .expect("spawn"),
            executor
                .spawn(task!("event"), async move { d.wait().await })
                .expect("spawn"),
            executor
                .spawn(task!("oneshot"), async move {
                    let _ = receiver.await;
                })
                .expect("spawn"),
            executor
                .spawn(task!("group"), async move { e.drained().await })
                .expect("spawn"),
        ];
        assert_eq!(executor.blocks(), 7);
        drop(waits);
        let mut left = Vec::new();
        executor.for_each_task(|task| left.push(task.info.name()));
        assert_eq!(left, ["member"]);
        drop((notify, channel, value, event, sender, group, member));
    });
}

#[test]
fn a_task_in_static_storage_needs_no_pool() {
    static ROOM: task::TaskStorage<256> = task::TaskStorage::new();
    stopped(|session, executor| {
        session.fail_alloc(Some(0));
        let handle = executor
            .spawn_stored(&ROOM, None, task!("stored"), async { 7 })
            .expect("no pool is needed");
        assert!(session.fail_pending());
        session.fail_alloc(None);
        assert_eq!(block_on(Passive::assert(), handle), Ok(Ok(7)));
    });
    assert!(ROOM.is_free());
}

#[test]
fn a_passive_token_cannot_be_made_at_dispatch_level() {
    let made = stopped(|_, executor| {
        let handle = executor
            .spawn(task!("tokens"), async {
                (Passive::here().is_some(), kexec::Apc::here().is_some())
            })
            .expect("spawn");
        block_on(Passive::assert(), handle).expect("memory")
    });
    assert_eq!(made, Ok((false, false)));
    let asserted = std::panic::catch_unwind(|| {
        let _session = fake::boot();
        let old = fake_raise(2);
        let _token = Passive::assert();
        fake_lower(old);
    });
    assert!(message(asserted).contains("PASSIVE_LEVEL needed"));
}

#[test]
fn wakers_are_called_and_dropped_outside_locks() {
    /// Takes the lock of what it waits for whenever it is woken or dropped: twice by one processor is a broken rule of the fake
    /// kernel.
    struct Nosy(Box<dyn Fn() + Send + Sync>);
    impl std::task::Wake for Nosy {
        fn wake(self: std::sync::Arc<Self>) {
            (self.0)();
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    fn polled_by_two(
        wait: &mut std::pin::Pin<&mut impl Future>,
        look: impl Fn() + Send + Sync + Clone + 'static,
    ) {
        for _ in 0..2 {
            let waker = Waker::from(std::sync::Arc::new(Nosy(Box::new(look.clone()))));
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
    }
    stopped(|session, executor| {
        let shared = executor.clone();
        let look = move || {
            let _ = shared.timers().next_deadline();
        };
        let mut sleep = std::pin::pin!(executor.sleep(Duration::from_millis(1)));
        polled_by_two(&mut sleep, look.clone());
        session.advance(Duration::from_millis(1));
        {
            let mut dropped = std::pin::pin!(executor.sleep(Duration::from_millis(1)));
            polled_by_two(&mut dropped, look);
        }
        let event = Arc::try_new(TAG, Event::new(Reset::Manual, false)).expect("memory");
        let shared = event.clone();
        let look = move || shared.reset();
        {
            let mut dropped = std::pin::pin!(event.wait());
            polled_by_two(&mut dropped, look.clone());
        }
        let mut wait = std::pin::pin!(event.wait());
        polled_by_two(&mut wait, look);
        event.set();
    });
}
