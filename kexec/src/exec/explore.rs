// SPDX-License-Identifier: BSD-2-Clause
//! A small bus under random schedules, on the real core: `cargo xtask explore`.
//!
//! Two executors, each run by two processors. On the bus's, one task owns the ring: it numbers requests, puts them on the wire,
//! matches replies by id. On the child's, clients ask and wait; a client that goes away cancels its request. Meanwhile one client
//! is aborted, the bus is driven inline from outside, and at the end both are stopped: refuse, cancel, drain, zero.
//!
//! `KEXEC_SCHEDULES` is the number of schedules of each of the two schedulers, `KEXEC_SEED` where they begin; both are printed.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: the program ends with both cores empty, which it checks"
)]

use core::alloc::Layout;
use core::future::Future;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::Vec;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::model::{Model, OnDrop};
use super::{Budget, Core, Outcome};
use crate::nt::{SpinLock, Tag, sys::fake};
use crate::sync::{Notify, oneshot};
use crate::task::JoinHandle;
use crate::{Aborted, DriveError, Group, Platform, task};

const TAG: Tag = Tag(*b"Expl");
const CLIENTS: u32 = 3;
const ROOM: usize = 2;

/// A platform of scheduled threads: a pend sets a flag and wakes the processors.
#[derive(Default)]
struct Cpus {
    asked: Mutex<(bool, bool)>,
    changed: Condvar,
    memory: Model,
    clock: AtomicU64,
}

// SAFETY: blocks are the model's; `pend` sets a flag that the processors look at; runners are the scheduler's threads.
unsafe impl Platform for Cpus {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.memory.allocate(layout)
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by contract.
        unsafe { self.memory.free(block, layout) };
    }
    fn pend(&self) {
        self.asked.lock().expect("lock").0 = true;
        self.changed.notify_all();
    }
    fn runner(&self) -> usize {
        usize::from(shuttle::current::me()) + 1
    }
    fn micros(&self) -> u64 {
        self.clock.fetch_add(1_000, Ordering::Relaxed)
    }
    fn relax(&self) {
        thread::yield_now();
    }
}

struct Executor(Core<Cpus>);

impl Executor {
    fn new() -> Arc<Self> {
        Arc::new(Self(Core::new(Cpus::default())))
    }

    fn spawn<F: Future<Output: Send> + Send + 'static>(
        &self,
        group: Option<&crate::nt::Arc<Group>>,
        future: F,
    ) -> JoinHandle<F::Output> {
        // SAFETY: in an Arc, and `stop` waits until it is empty.
        unsafe { self.0.spawn(task!("explored"), group, future) }.expect("spawn")
    }

    /// Body of a processor. The budget is small, so that activations end in the middle.
    fn serve(&self) {
        loop {
            let mut asked = self.0.platform().asked.lock().expect("lock");
            while !asked.0 && !asked.1 {
                asked = self.0.platform().changed.wait(asked).expect("lock");
            }
            if !core::mem::take(&mut asked.0) {
                return;
            }
            drop(asked);
            let _: Outcome = self.0.run(Budget::polls(2));
        }
    }

    /// Refuse, cancel, drain; then the processors end.
    fn stop(&self) {
        self.0.close();
        while !self.0.is_empty() {
            match self.0.drive(8) {
                Ok(_) | Err(DriveError::Busy) => thread::yield_now(),
                Err(error) => panic!("{error:?}"),
            }
        }
        self.0.platform().asked.lock().expect("lock").1 = true;
        self.0.platform().changed.notify_all();
    }
}

enum Order {
    Ask(u32, oneshot::Sender<u32>),
    Cancel(u32),
}

/// What the ring's owner shares with clients and with the other end of the wire.
struct Bus {
    orders: SpinLock<Vec<Order>>,
    kick: Notify,
    wire: Mutex<Wire>,
    moved: Condvar,
}

#[derive(Default)]
struct Wire {
    requests: VecDeque<u32>,
    replies: VecDeque<u32>,
    end: bool,
}

impl Bus {
    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        self.kick.notify();
    }

    /// The task that owns the ring; it alone knows what is pending.
    async fn serve(self: Arc<Self>, _drops: OnDrop) {
        let mut waiting = Vec::new();
        let mut unsent = VecDeque::new();
        loop {
            let orders = core::mem::take(&mut *self.orders.lock());
            for order in orders {
                match order {
                    Order::Ask(id, sender) => {
                        waiting.push((id, sender));
                        unsent.push_back(id);
                    }
                    Order::Cancel(id) => {
                        waiting.retain(|(other, _)| *other != id);
                        unsent.retain(|other| *other != id);
                    }
                }
            }
            let replies = {
                let mut wire = self.wire.lock().expect("lock");
                while wire.requests.len() < ROOM && !unsent.is_empty() {
                    wire.requests.extend(unsent.pop_front());
                }
                core::mem::take(&mut wire.replies)
            };
            self.moved.notify_all();
            for id in replies {
                // A reply to a request that was cancelled on the wire finds nobody.
                if let Some(place) = waiting.iter().position(|(other, _)| *other == id) {
                    let _ = waiting.swap_remove(place).1.send(id * 10);
                }
            }
            self.kick.notified().await;
        }
    }

    /// The other end: answers the newest request first, and interrupts.
    fn answer(&self) {
        let mut wire = self.wire.lock().expect("lock");
        loop {
            if let Some(id) = wire.requests.pop_back() {
                wire.replies.push_back(id);
                drop(wire);
                self.kick.notify();
                wire = self.wire.lock().expect("lock");
            } else if wire.end {
                return;
            } else {
                wire = self.moved.wait(wire).expect("lock");
            }
        }
    }

    /// A client: cancels its request when it goes away.
    async fn ask(self: Arc<Self>, id: u32, _drops: OnDrop) -> u32 {
        struct CancelOnDrop(Arc<Bus>, u32);
        impl Drop for CancelOnDrop {
            fn drop(&mut self) {
                self.0.order(Order::Cancel(self.1));
            }
        }
        let (sender, receiver) = oneshot::try_new(TAG).expect("memory");
        let _cancel = CancelOnDrop(self.clone(), id);
        self.order(Order::Ask(id, sender));
        receiver
            .await
            .expect("the ring's owner outlives its clients")
    }
}

fn program() {
    let session = fake::boot();
    let (bus_executor, child_executor) = (Executor::new(), Executor::new());
    let mut processors = Vec::new();
    for executor in [
        &bus_executor,
        &bus_executor,
        &child_executor,
        &child_executor,
    ] {
        let executor = executor.clone();
        processors.push(thread::spawn(move || executor.serve()));
    }
    let bus = Arc::new(Bus {
        orders: SpinLock::new(Vec::new()),
        kick: Notify::new(),
        wire: Mutex::new(Wire::default()),
        moved: Condvar::new(),
    });
    let drops = Arc::new(AtomicUsize::new(0));
    let (other_end, wire) = (bus.clone(), bus.clone());
    let backend = thread::spawn(move || other_end.answer());
    // SAFETY: in an Arc, and stopped below with all its tasks.
    let group = unsafe { bus_executor.0.group("bus") };
    let group = crate::nt::Arc::try_new(TAG, group).expect("memory");
    let owner = bus_executor.spawn(Some(&group), bus.clone().serve(OnDrop(drops.clone())));
    let mut clients: Vec<_> = (1..=CLIENTS)
        .map(|id| child_executor.spawn(None, bus.clone().ask(id, OnDrop(drops.clone()))))
        .collect();
    let doomed = clients.remove(0);
    doomed.abort();
    match bus_executor.0.drive(1) {
        Ok(_) | Err(DriveError::Busy) => {}
        Err(error) => panic!("{error:?}"),
    }
    for (client, id) in clients.into_iter().zip(2..) {
        assert_eq!(block_on(client), Ok(id * 10));
    }
    assert!(matches!(block_on(doomed), Ok(10) | Err(Aborted)));
    child_executor.stop();
    group.cancel();
    block_on(group.drained());
    assert_eq!((group.count(), block_on(owner)), (0, Err(Aborted)));
    bus_executor.stop();
    wire.wire.lock().expect("lock").end = true;
    wire.moved.notify_all();
    backend.join().expect("the other end");
    for processor in processors {
        processor.join().expect("a processor");
    }
    assert_eq!(drops.load(Ordering::SeqCst), CLIENTS as usize + 1);
    for executor in [&bus_executor, &child_executor] {
        let memory = &executor.0.platform().memory;
        assert_eq!(memory.live.load(Ordering::SeqCst), 0, "task blocks");
    }
    // Whatever pool is left is found by the session's end.
    drop((bus, wire, group, bus_executor, child_executor));
    drop(session);
}

fn setting(name: &str, otherwise: usize) -> usize {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| text.parse().expect("a number"))
}

fn explore(name: &str, make: impl FnOnce(u64, usize) -> std::boxed::Box<dyn Scheduler + Send>) {
    let schedules = setting("KEXEC_SCHEDULES", 300);
    let seed = setting("KEXEC_SEED", 1);
    // Printed by the test harness when this fails; the scheduler adds the schedule itself.
    std::println!("{name}: KEXEC_SEED={seed} KEXEC_SCHEDULES={schedules}");
    let runner = shuttle::Runner::new(make(seed as u64, schedules), shuttle::Config::new());
    let done = runner.run(program);
    std::println!("{name}: {done} schedules");
    assert_eq!(done, schedules);
}

#[test]
fn shuttle_bus_under_random_schedules() {
    explore("random", |seed, count| {
        std::boxed::Box::new(RandomScheduler::new_from_seed(seed, count))
    });
}

#[test]
fn shuttle_bus_under_few_preemptions() {
    explore("preemptions", |seed, count| {
        std::boxed::Box::new(PctScheduler::new_from_seed(seed, 5, count))
    });
}
