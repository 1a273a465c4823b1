// SPDX-License-Identifier: BSD-2-Clause
//! The measured storms: run in DriverEntry at PASSIVE_LEVEL, one after the other; each leaves nothing behind.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kexec::irql::{APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL, Raised};
use kexec::nt::{Arc, Interrupt, InterruptConfig, Tag, Thread, Vec, cpu, delay};
use kexec::sync::Notify;
use kexec::{DpcExecutor, Duration, Passive, Result, Status, info, poll_on, task};

use crate::fairness;
use crate::figures::Figures;
use crate::machine::Machine;

/// Pool tag of everything here.
pub const TAG: Tag = Tag(*b"KSto");
const PASSES: usize = 1001;
const INTERRUPTS: u32 = 500;
const WAKES: u32 = 4_000;
/// Tasks that are ready at once.
pub(crate) const TASKS: usize = 256;
/// Waits of a millisecond before something that should happen counts as lost.
const PATIENCE: u32 = 5_000;

/// Connects `serve` to the test interrupt on every processor.
///
/// # Errors
/// That of the kernel.
pub fn connect(
    machine: &Machine,
    passive: Passive,
    serve: impl Fn() + Send + Sync + 'static,
) -> Result<Interrupt> {
    let config = InterruptConfig {
        pdo: machine.device,
        vector: machine.vector,
        irql: (machine.vector >> 4) as u8,
        latched: true,
        shared: false,
        group: 0,
        affinity: (1 << cpu::count()) - 1,
    };
    Interrupt::connect(TAG, passive, config, move || {
        serve();
        true
    })
}

/// Runs `work(index)` on every processor at the same time, each in a thread of its own, and joins them.
fn on_all(passive: Passive, work: impl Fn(Passive, u32) + Clone + Send + Sync + 'static) -> Result {
    let mut threads = Vec::new(TAG);
    for index in 0..cpu::count() {
        let work = work.clone();
        threads.try_push(Thread::spawn(TAG, passive, move |passive| {
            let _ = cpu::run_on(passive, index, || work(passive, index));
        })?)?;
    }
    // Joined by the drop.
    drop(threads);
    Ok(())
}

/// Waits until `done`, which nothing but a lost wake keeps from happening.
pub(crate) fn until(passive: Passive, done: impl Fn() -> bool) -> bool {
    for _ in 0..PATIENCE {
        if done() {
            return true;
        }
        delay(passive, Duration::from_millis(1));
    }
    done()
}

/// Makes an executor, gives it to `f`, stops it, and proves that nothing refers to it any more.
fn with_executor(passive: Passive, f: impl FnOnce(&Arc<DpcExecutor>) -> Result) -> Result {
    let executor = DpcExecutor::try_new(TAG, None)?;
    let result = f(&executor);
    executor.stop(passive);
    assert!(executor.blocks() == 0, "tasks left after the stop");
    assert!(Arc::count(&executor) == 1, "references left after the stop");
    result
}

/// All of them; an error says that one failed, and its line says why.
///
/// # Errors
/// `UNSUCCESSFUL` when a wake was lost or a clock stood still; that of the kernel.
pub fn all(machine: &Machine, passive: Passive) -> Result {
    first_poll(machine, passive)?;
    pool(machine, passive)?;
    (machine.measure)();
    isr_storm(machine, passive)?;
    cross_wakes(passive)?;
    with_executor(passive, |executor| {
        fairness::measure(machine, executor, passive)
    })?;
    activations(machine);
    frozen(machine, passive)
}

/// A task that notes when it was polled.
struct Stamped {
    notify: Arc<Notify>,
    polled: Arc<AtomicU64>,
}

impl Stamped {
    fn spawn(executor: &DpcExecutor, clock: fn() -> u64) -> Result<Self> {
        let notify = Arc::try_new(TAG, Notify::new())?;
        let polled = Arc::try_new(TAG, AtomicU64::new(0))?;
        let (wakes, stamp) = (notify.clone(), polled.clone());
        let task = async move {
            loop {
                wakes.notified().await;
                stamp.store(clock(), Ordering::Release);
            }
        };
        executor.spawn(task!("first-poll"), task)?.detach();
        Ok(Self { notify, polled })
    }

    /// When it was polled since the last call.
    fn take(&self, passive: Passive) -> Result<u64> {
        let polled = || self.polled.load(Ordering::Acquire) != 0;
        if until(passive, polled) {
            Ok(self.polled.swap(0, Ordering::AcqRel))
        } else {
            Err(Status::UNSUCCESSFUL)
        }
    }
}

/// From a wake to the poll, and that without what a wake costs that need not pend.
fn first_poll(machine: &Machine, passive: Passive) -> Result {
    with_executor(passive, |executor| {
        let clock = machine.clock;
        let first = Stamped::spawn(executor, clock)?;
        let second = Stamped::spawn(executor, clock)?;
        let mut whole = Figures::try_new(TAG, PASSES)?;
        let mut wakes = Figures::try_new(TAG, PASSES)?;
        cpu::run_on(passive, 0, || -> Result {
            for _ in 0..PASSES {
                let begin = clock();
                first.notify.notify();
                whole.push(first.take(passive)? - begin)?;
                // The first wake pends, and the second finds the executor pended.
                let wake = {
                    let _raised = Raised::to_dispatch();
                    first.notify.notify();
                    let begin = clock();
                    second.notify.notify();
                    clock() - begin
                };
                wakes.push(wake)?;
                first.take(passive)?;
                second.take(passive)?;
            }
            Ok(())
        })??;
        let (least, median, _) = whole.summary();
        let (_, wake, _) = wakes.summary();
        let from_dpc = median.saturating_sub(wake);
        info!(
            "RESULT kstorm.first-poll min={least} median={median} wake={wake} from-dpc={from_dpc} passes={PASSES}"
        );
        Ok(())
    })
}

/// What the kernel's pool takes for a block of a task's size: most of what a cancelled task costs.
fn pool(machine: &Machine, passive: Passive) -> Result {
    let clock = machine.clock;
    let mut takes = Figures::try_new(TAG, PASSES)?;
    let mut frees = Figures::try_new(TAG, PASSES)?;
    cpu::run_on(passive, 0, || -> Result {
        for _ in 0..PASSES {
            let begin = clock();
            let block = Arc::try_new(TAG, [0_u64; 20])?;
            let taken = clock();
            drop(block);
            frees.push(clock() - taken)?;
            takes.push(taken - begin)?;
        }
        Ok(())
    })??;
    let (take, free) = (takes.summary().1, frees.summary().1);
    info!("RESULT kstorm.pool take={take} free={free} passes={PASSES}");
    Ok(())
}

fn isr_storm(machine: &Machine, passive: Passive) -> Result {
    with_executor(passive, |executor| {
        let notify = Arc::try_new(TAG, Notify::new())?;
        let taken = Arc::try_new(TAG, AtomicU32::new(0))?;
        let seen = Arc::try_new(TAG, AtomicU32::new(0))?;
        let polls = Arc::try_new(TAG, AtomicU32::new(0))?;
        let (wakes, events, out, count) =
            (notify.clone(), taken.clone(), seen.clone(), polls.clone());
        let task = async move {
            loop {
                wakes.notified().await;
                count.fetch_add(1, Ordering::Relaxed);
                out.store(events.load(Ordering::Acquire), Ordering::Release);
            }
        };
        executor.spawn(task!("isr-storm"), task)?.detach();
        let count = taken.clone();
        let interrupt = connect(machine, passive, move || {
            count.fetch_add(1, Ordering::AcqRel);
            notify.notify();
        })?;
        let (raise, cpus) = (machine.raise, cpu::count());
        on_all(passive, move |_, me| {
            for n in 0..INTERRUPTS {
                raise((me + n) % cpus);
            }
        })?;
        let done = || seen.load(Ordering::Acquire) == taken.load(Ordering::Acquire);
        // The last interrupts may be on their way yet.
        delay(passive, Duration::from_millis(20));
        let good = until(passive, done);
        drop(interrupt);
        let (sent, taken) = (INTERRUPTS * cpus, taken.load(Ordering::Acquire));
        let (seen, polls) = (seen.load(Ordering::Acquire), polls.load(Ordering::Relaxed));
        info!("RESULT kstorm.isr-storm sent={sent} taken={taken} seen={seen} polls={polls}");
        if good && taken > 0 {
            Ok(())
        } else {
            Err(Status::UNSUCCESSFUL)
        }
    })
}

/// One of many tasks: what was asked of it, and what it has seen.
struct Seat {
    notify: Notify,
    asked: AtomicU32,
    seen: AtomicU32,
}

fn seats(executor: &DpcExecutor) -> Result<Arc<Vec<Seat>>> {
    let mut seats = Vec::new(TAG);
    for _ in 0..TASKS {
        seats.try_push(Seat {
            notify: Notify::new(),
            asked: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        })?;
    }
    let seats = Arc::try_new(TAG, seats)?;
    for index in 0..TASKS {
        let all = seats.clone();
        let task = async move {
            let seat = &all[index];
            loop {
                seat.notify.notified().await;
                let asked = seat.asked.load(Ordering::Acquire);
                seat.seen.store(asked, Ordering::Release);
            }
        };
        executor.spawn(task!("seat"), task)?.detach();
    }
    Ok(seats)
}

fn cross_wakes(passive: Passive) -> Result {
    with_executor(passive, |executor| {
        let seats = seats(executor)?;
        let shared = seats.clone();
        on_all(passive, move |_, me| {
            // A generator of its own for each processor: the same seats in another order.
            let mut random = 0x9E37_79B9_u32.wrapping_mul(me + 1);
            for _ in 0..WAKES {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                let seat = &shared[random as usize % TASKS];
                let level = random >> 16 & 3;
                let wake = || {
                    seat.asked.fetch_add(1, Ordering::AcqRel);
                    seat.notify.notify();
                };
                let _raised = match level {
                    0 => None,
                    1 => Some(Raised::to_dispatch()),
                    _ => Some(Raised::to_high()),
                };
                wake();
            }
        })?;
        let settled =
            |seat: &Seat| seat.seen.load(Ordering::Acquire) == seat.asked.load(Ordering::Acquire);
        let good = until(passive, || seats.iter().all(settled));
        let lost = seats.iter().filter(|seat| !settled(seat)).count();
        let wakes: u32 = seats
            .iter()
            .map(|seat| seat.asked.load(Ordering::Acquire))
            .sum();
        info!("RESULT kstorm.cross-wakes wakes={wakes} tasks={TASKS} lost={lost}");
        if good {
            Ok(())
        } else {
            Err(Status::UNSUCCESSFUL)
        }
    })
}

fn activations(machine: &Machine) {
    let (count, most) = ((machine.figure)(0), (machine.figure)(1));
    let whole = (machine.figure)(99);
    info!("RESULT kstorm.activations count={count} max={most} with-interrupts={whole}");
    for bucket in 0..24 {
        let runs = (machine.figure)(2 + bucket);
        if runs != 0 {
            info!(
                "RESULT kstorm.histogram from={} runs={runs}",
                1_u64 << bucket
            );
        }
    }
}

fn frozen(machine: &Machine, passive: Passive) -> Result {
    const _: () = assert!(APC_LEVEL < DISPATCH_LEVEL && DISPATCH_LEVEL < HIGH_LEVEL);
    with_executor(passive, |executor| {
        let notify = Arc::try_new(TAG, Notify::new())?;
        let bell = notify.clone();
        let (begin, slept, woken, end) = cpu::run_on(passive, 0, || {
            let _raised = Raised::to_high();
            let begin = (machine.clock)();
            let slept = poll_on(
                executor,
                Duration::from_millis(500),
                executor.sleep(Duration::from_millis(5)),
            );
            let end = (machine.clock)();
            let woken = poll_on(executor, Duration::from_millis(500), async {
                let task = async move { bell.notify() };
                let task = executor.spawn(task!("frozen"), task);
                let spawned = task.map(kexec::JoinHandle::detach).is_ok();
                notify.notified().await;
                spawned
            });
            (begin, slept, woken, end)
        })?;
        let good = slept == Ok(()) && woken == Ok(true);
        info!(
            "RESULT kstorm.frozen ticks={} slept={slept:?} woken={woken:?}",
            end - begin
        );
        if good {
            Ok(())
        } else {
            Err(Status::UNSUCCESSFUL)
        }
    })
}
