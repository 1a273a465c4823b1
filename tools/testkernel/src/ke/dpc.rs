// SPDX-License-Identifier: BSD-2-Clause
//! Deferred procedure calls: one queue per CPU, drained by the dispatch interrupt at DISPATCH_LEVEL.
//!
//! A DPC that is queued while its CPU drains the queue causes no interrupt, as on NT: the drain looks again, under the lock.
//! Threads stand still meanwhile; a drain that does not end is found by the clock ([`watch`]).
//!
//! A queued KDPC is marked at 0x38 and listed here; the mark goes before the routine runs, so it may queue itself
//! again. All queues share one interrupt-safe lock: insertion works at every IRQL, on any CPU.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{self, MAX_CPUS};
use crate::export::{ANY, IrqlRule, P};
use crate::ke::event::Event;
use crate::ke::fault::Place;
use crate::ke::sched;
use crate::ke::testing;
use crate::ke::wait::Timeout;
use crate::ke::watchdog;
use crate::ldr;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

const TYPE: u8 = 0x13;
const TYPE_THREADED: u8 = 0x18;
/// Added to a CPU number that the driver chose.
const TARGETED: u16 = 0x800;

enum Item {
    Driver(Ptr),
    /// The kernel's own: run once.
    Kernel(Arc<dyn Fn() + Send + Sync>),
}

struct Queue {
    items: VecDeque<Item>,
    /// [`drain`] will look at the items again, so whoever adds one need not interrupt the CPU.
    draining: bool,
    /// Drains that have ended.
    drains: u64,
    /// The driver's routine that ran last in this drain.
    routine: Ptr,
    /// The number of drains when the clock looked last, and how often it has found the same.
    watched: (u64, u64),
}

/// How long a drain may last, in seconds of clock interrupts: what NT allows one DPC (it allows 120 s for several). As there, time in
/// which the CPU was not running does not count.
const WATCHDOG: u64 = 20;

static QUEUES: Lock<[Queue; MAX_CPUS]> = Lock::new(
    [const {
        Queue {
            items: VecDeque::new(),
            draining: false,
            drains: 0,
            routine: Ptr::NULL,
            watched: (0, 0),
        }
    }; MAX_CPUS],
);

fn check(dpc: Ptr) {
    let found: u8 = dpc.get(0);
    if found != TYPE && found != TYPE_THREADED {
        verifier::fail(
            "not_a_dpc",
            format_args!("object {dpc} has type {found:#x}"),
        );
    }
}

/// Queues; false when it is queued already. `fallback` is the CPU for a DPC that is not targeted.
fn insert(dpc: Ptr, a: usize, b: usize, fallback: usize) -> bool {
    check(dpc);
    let number: u16 = dpc.get(2);
    let target = if number >= TARGETED {
        usize::from(number - TARGETED)
    } else {
        fallback
    };
    let mut queues = QUEUES.lock();
    if dpc.get::<usize>(0x38) != 0 {
        return false;
    }
    dpc.set(0x28, a);
    dpc.set(0x30, b);
    dpc.set(0x38, target + 1);
    let Queue {
        items, draining, ..
    } = &mut queues[target];
    if dpc.get::<u8>(1) == 2 {
        items.push_front(Item::Driver(dpc));
    } else {
        items.push_back(Item::Driver(dpc));
    }
    let draining = *draining;
    drop(queues);
    if !draining {
        sched::request_dispatch(target);
    }
    true
}

/// What an expired timer does, on the CPU that set it unless the DPC is targeted.
pub(crate) fn insert_from_timer(dpc: Ptr, low: usize, high: usize, cpu: usize) {
    insert(dpc, low, high, cpu);
}

/// Runs `work` on `cpu` at DISPATCH_LEVEL, after what is queued there.
fn insert_kernel(cpu: usize, work: Arc<dyn Fn() + Send + Sync>) {
    QUEUES.lock()[cpu].items.push_back(Item::Kernel(work));
    sched::request_dispatch(cpu);
}

/// Runs what is queued on this CPU; at DISPATCH_LEVEL.
pub(crate) fn drain() {
    let this = arch::cpu();
    loop {
        let item = {
            let queue = &mut QUEUES.lock()[this.number];
            let item = queue.items.pop_front();
            queue.draining = item.is_some();
            if item.is_none() {
                queue.drains += 1;
                queue.routine = Ptr::NULL;
            }
            item
        };
        match item {
            None => return,
            Some(Item::Kernel(work)) => work(),
            Some(Item::Driver(dpc)) => {
                let routine = dpc.ptr(0x18);
                let args: [usize; 4] = {
                    let mut queues = QUEUES.lock();
                    queues[this.number].routine = routine;
                    let args = [dpc.0, dpc.get(0x20), dpc.get(0x28), dpc.get(0x30)];
                    dpc.set(0x38, 0usize);
                    args
                };
                this.in_dpc.store(true, Ordering::Relaxed);
                let begin = testing::dpc_begins();
                verifier::call::driver("DPC routine", routine, &args);
                testing::dpc_ends(begin);
                this.in_dpc.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// The clock's part, on each CPU, `frame` and `irql` being what it interrupted: ends the run when this one has drained its queue for
/// too long, as NT's DPC watchdog does.
pub(crate) fn watch(frame: &arch::Frame, irql: u8) {
    let mut queues = QUEUES.lock();
    let Queue {
        draining,
        drains,
        routine,
        watched,
        ..
    } = &mut queues[arch::cpu_number()];
    if !*draining || watched.0 != *drains {
        *watched = (*drains, 0);
        return;
    }
    watched.1 += 1;
    if watched.1 * arch::tick() < WATCHDOG * 10_000_000 {
        return;
    }
    let routine = *routine;
    drop(queues);
    let driver =
        ldr::find(routine).map_or_else(|| "?".into(), |(image, _)| ldr::service_of(&image));
    let who = verifier::Caller {
        driver,
        export: "DPC routine",
    };
    watchdog::look(frame, irql);
    verifier::fail_as(
        &who,
        "dpc_watchdog",
        format_args!(
            "DPCs have run for {WATCHDOG} s without a pause; now {}",
            Place(routine.0 as u64)
        ),
    );
}

/// A queued DPC in the range, for the check of freed memory.
pub(crate) fn queued_in(start: Ptr, len: usize) -> Option<Ptr> {
    let queues = QUEUES.lock();
    // Of CPUs that there are: this is asked whenever a driver frees a block.
    let queues = queues.iter().take(arch::cpu_count());
    queues
        .flat_map(|queue| &queue.items)
        .find_map(|item| match item {
            Item::Driver(dpc) if (start.0..start.0 + len).contains(&dpc.0) => Some(*dpc),
            _ => None,
        })
}

/// Returns when every DPC that is queued now, on all CPUs, has run.
pub fn flush() {
    let count = arch::cpu_count();
    let left = Arc::new(AtomicUsize::new(count));
    let done = Arc::new(Event::new(false));
    for cpu in 0..count {
        let (left, done) = (Arc::clone(&left), Arc::clone(&done));
        insert_kernel(
            cpu,
            Arc::new(move || {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.set();
                }
            }),
        );
    }
    done.wait(Timeout::Never);
}

fn initialize(dpc: Ptr, kind: u8, routine: Ptr, context: usize) {
    if queued_in(dpc, 1).is_some() {
        verifier::fail(
            "dpc_reinit",
            format_args!("DPC {dpc} is initialised while it is queued"),
        );
    }
    dpc.fill(0, 0x40);
    dpc.set(0, kind);
    dpc.set(1, 1u8);
    dpc.set(0x18, routine);
    dpc.set(0x20, context);
}

extern "win64" fn ke_initialize_dpc(dpc: Ptr, routine: Ptr, context: usize) {
    initialize(dpc, TYPE, routine, context);
}

extern "win64" fn ke_initialize_threaded_dpc(dpc: Ptr, routine: Ptr, context: usize) {
    initialize(dpc, TYPE_THREADED, routine, context);
}

extern "win64" fn ke_insert_queue_dpc(dpc: Ptr, a: usize, b: usize) -> u8 {
    u8::from(insert(dpc, a, b, arch::cpu_number()))
}

extern "win64" fn ke_remove_queue_dpc(dpc: Ptr) -> u8 {
    check(dpc);
    let mut queues = QUEUES.lock();
    let cpu: usize = dpc.get(0x38);
    if cpu == 0 {
        return 0;
    }
    queues[cpu - 1]
        .items
        .retain(|item| !matches!(item, Item::Driver(d) if *d == dpc));
    dpc.set(0x38, 0usize);
    1
}

extern "win64" fn ke_set_target_processor_dpc(dpc: Ptr, number: u8) {
    check(dpc);
    dpc.set(2, TARGETED + u16::from(number));
}

extern "win64" fn ke_set_target_processor_dpc_ex(dpc: Ptr, processor: Ptr) -> NtStatus {
    check(dpc);
    let (group, number) = (processor.get::<u16>(0), processor.get::<u8>(2));
    if group != 0 || usize::from(number) >= arch::cpu_count() || processor.get::<u8>(3) != 0 {
        return status::INVALID_PARAMETER;
    }
    dpc.set(2, TARGETED + u16::from(number));
    status::SUCCESS
}

extern "win64" fn ke_set_importance_dpc(dpc: Ptr, importance: u32) {
    check(dpc);
    dpc.set(1, importance as u8);
}

extern "win64" fn ke_flush_queued_dpcs() {
    flush();
}

extern "win64" fn ke_generic_call_dpc(routine: Ptr, context: usize) {
    // SystemArgument1 is the count of CPUs that are not done, SystemArgument2 the barrier: {count, generation}.
    let count = arch::cpu_count();
    let done = Event::new(false);
    let shared: Arc<[core::sync::atomic::AtomicU64; 4]> = Arc::new(Default::default());
    shared[0].store(count as u64, Ordering::Relaxed);
    shared[1].store(count as u64, Ordering::Relaxed);
    let event = done.ptr();
    for cpu in 0..count {
        let shared = Arc::clone(&shared);
        insert_kernel(
            cpu,
            Arc::new(move || {
                let left = core::ptr::from_ref(&shared[0]) as usize;
                let barrier = core::ptr::from_ref(&shared[1]) as usize;
                verifier::call::driver(
                    "generic DPC routine",
                    routine,
                    &[0, context, left, barrier],
                );
                if shared[3].fetch_add(1, Ordering::AcqRel) + 1 == count as u64 {
                    crate::ke::event::set(event);
                }
            }),
        );
    }
    done.wait(Timeout::Never);
}

extern "win64" fn ke_signal_call_dpc_done(left: Ptr) {
    left.atomic64(0).fetch_sub(1, Ordering::AcqRel);
}

extern "win64" fn ke_signal_call_dpc_synchronize(barrier: Ptr) -> u8 {
    // Word 0 counts down; word 1 is the generation.
    let generation = barrier.atomic64(8).load(Ordering::Acquire);
    if barrier.atomic64(0).fetch_sub(1, Ordering::AcqRel) == 1 {
        barrier
            .atomic64(0)
            .store(arch::cpu_count() as u64, Ordering::Release);
        barrier.atomic64(8).fetch_add(1, Ordering::AcqRel);
        return 1;
    }
    while barrier.atomic64(8).load(Ordering::Acquire) == generation {
        arch::pause();
    }
    0
}

const AT_DISPATCH: IrqlRule = crate::export::AT_D;

crate::exports! {
    "KeInitializeDpc", ANY => ke_initialize_dpc;
    "KeInitializeThreadedDpc", ANY => ke_initialize_threaded_dpc;
    "KeInsertQueueDpc", ANY => ke_insert_queue_dpc;
    "KeRemoveQueueDpc", ANY => ke_remove_queue_dpc;
    "KeSetTargetProcessorDpc", ANY => ke_set_target_processor_dpc;
    "KeSetTargetProcessorDpcEx", ANY => ke_set_target_processor_dpc_ex;
    "KeSetImportanceDpc", ANY => ke_set_importance_dpc;
    "KeFlushQueuedDpcs", P => ke_flush_queued_dpcs;
    "KeGenericCallDpc", P => ke_generic_call_dpc;
    "KeSignalCallDpcDone", AT_DISPATCH => ke_signal_call_dpc_done;
    "KeSignalCallDpcSynchronize", AT_DISPATCH => ke_signal_call_dpc_synchronize;
}
