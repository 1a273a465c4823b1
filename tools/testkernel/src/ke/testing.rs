// SPDX-License-Identifier: BSD-2-Clause
//! What NT does not have: an interrupt that a test driver can raise on any CPU, how long DPC routines run, when an interrupt
//! routine was called, how much pool was asked for, and what another image exports.
//!
//! Drivers find these at run time (`MmGetSystemRoutineAddress`), and only here. The interrupt is a vector of the local APIC like
//! those of message interrupts, sent between CPUs; a driver connects to it with `IoConnectInterruptEx`.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::arch::{self, MAX_CPUS};
use crate::export::{ANY, P};
use crate::ke::interrupt;
use crate::ldr;
use crate::mem::Ptr;
use crate::verifier;

static VECTOR: AtomicU32 = AtomicU32::new(0);

/// The vector for tests, one for all drivers.
extern "win64" fn test_kernel_interrupt_vector() -> u32 {
    let known = VECTOR.load(Ordering::Acquire);
    if known != 0 {
        return known;
    }
    let fresh = u32::from(interrupt::allocate_message().0);
    match VECTOR.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        Err(first) => first,
    }
}

/// Raises it on CPU `cpu`. As the local APIC has it, one that is pending there already swallows the next.
extern "win64" fn test_kernel_raise_interrupt(cpu: u32) {
    let vector = VECTOR.load(Ordering::Acquire);
    if vector == 0 || cpu as usize >= arch::cpu_count() {
        verifier::fail("bad_argument", format_args!("no test interrupt {cpu}"));
    }
    arch::apic::send_to(cpu as usize, vector as u8);
}

const BUCKETS: usize = 24;
static MEASURED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);
static OVERHEAD: AtomicU64 = AtomicU64::new(0);
/// Bucket `n`: runs of 2^n to 2^(n+1) ticks.
static HISTOGRAM: [AtomicU64; BUCKETS] = [const { AtomicU64::new(0) }; BUCKETS];

/// What interrupts have taken from the DPC routine that runs on each CPU.
static STOLEN: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
/// The longest run with the interrupts that came meanwhile.
static WITH_INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// The end of an interrupt that came during a DPC routine; `begin` as [`dpc_begins`] said when it came.
pub(crate) fn interrupt_ends(begin: Option<u64>) {
    if let Some(begin) = begin {
        let ticks = arch::own_ticks() - begin;
        STOLEN[arch::cpu_number()].fetch_add(ticks, Ordering::Relaxed);
    }
}

/// The start of a driver's DPC routine on this CPU: its own running time, when runs are measured.
pub(crate) fn dpc_begins() -> Option<u64> {
    MEASURED.load(Ordering::Relaxed).then(arch::own_ticks)
}

/// Its end.
pub(crate) fn dpc_ends(begin: Option<u64>) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let Some(begin) = begin else {
        return;
    };
    let all = (arch::own_ticks() - begin).saturating_sub(OVERHEAD.load(Ordering::Relaxed));
    let stolen = STOLEN[arch::cpu_number()].swap(0, Ordering::Relaxed);
    WITH_INTERRUPTS.fetch_max(all, Ordering::Relaxed);
    let ticks = all.saturating_sub(stolen);
    MOST.fetch_max(ticks, Ordering::Relaxed);
    let bucket = (ticks.max(1).ilog2() as usize).min(BUCKETS - 1);
    HISTOGRAM[bucket].fetch_add(1, Ordering::Relaxed);
}

/// From here on runs of drivers' DPC routines are measured.
extern "win64" fn test_kernel_dpc_measure() {
    let mut least = u64::MAX;
    for _ in 0..16 {
        let begin = arch::own_ticks();
        least = least.min(arch::own_ticks() - begin);
    }
    OVERHEAD.store(least, Ordering::Relaxed);
    MOST.store(0, Ordering::Relaxed);
    WITH_INTERRUPTS.store(0, Ordering::Relaxed);
    for bucket in &HISTOGRAM {
        bucket.store(0, Ordering::Relaxed);
    }
    MEASURED.store(true, Ordering::Release);
}

/// 0: runs of drivers' DPC routines so far; 1: the longest that was measured, in ticks, without the interrupts that came
/// meanwhile; 2 + n: how many took 2^n to 2^(n+1); 99: the longest with the interrupts.
extern "win64" fn test_kernel_dpc_figure(which: u32) -> u64 {
    match which {
        0 => COUNT.load(Ordering::Relaxed),
        1 => MOST.load(Ordering::Relaxed),
        99 => WITH_INTERRUPTS.load(Ordering::Relaxed),
        n => HISTOGRAM
            .get(n as usize - 2)
            .map_or(0, |bucket| bucket.load(Ordering::Relaxed)),
    }
}

/// When the last interrupt routine of each CPU was called.
static ROUTINE_CALLED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// An interrupt routine of a driver is about to be called on this CPU.
pub(crate) fn routine_begins() {
    ROUTINE_CALLED[arch::cpu_number()].store(arch::rdtsc(), Ordering::Relaxed);
    ROUTINE_CALLS.fetch_add(1, Ordering::Relaxed);
}

/// Time stamp counter at the last call of an interrupt routine on this CPU.
extern "win64" fn test_kernel_routine_called() -> u64 {
    ROUTINE_CALLED[arch::cpu_number()].load(Ordering::Relaxed)
}

static ROUTINE_CALLS: AtomicU64 = AtomicU64::new(0);

/// Calls of drivers' interrupt routines so far, on all CPUs.
extern "win64" fn test_kernel_routine_calls() -> u64 {
    ROUTINE_CALLS.load(Ordering::Relaxed)
}

/// What an image exports by that name, or NULL. Both are strings.
extern "win64" fn test_kernel_find_export(image: Ptr, name: Ptr) -> Ptr {
    let text = |at: Ptr| -> String {
        let bytes = (0..).map(|offset| at.get::<u8>(offset));
        bytes
            .take_while(|byte| *byte != 0)
            .map(char::from)
            .collect()
    };
    ldr::exported(&text(image), &text(name)).unwrap_or(Ptr::NULL)
}

/// Pool blocks that drivers have asked for so far.
extern "win64" fn test_kernel_pool_allocations() -> u64 {
    crate::ex::pool::calls()
}

/// For how long all CPUs together have run.
extern "win64" fn test_kernel_busy_ticks() -> u64 {
    arch::busy_ticks()
}

/// For how long this CPU has run.
extern "win64" fn test_kernel_own_ticks() -> u64 {
    arch::own_ticks()
}

crate::exports! {
    "TestKernelBusyTicks", ANY => test_kernel_busy_ticks;
    "TestKernelOwnTicks", ANY => test_kernel_own_ticks;
    "TestKernelRoutineCalled", ANY => test_kernel_routine_called;
    "TestKernelRoutineCalls", ANY => test_kernel_routine_calls;
    "TestKernelFindExport", P => test_kernel_find_export;
    "TestKernelPoolAllocations", ANY => test_kernel_pool_allocations;
    "TestKernelInterruptVector", ANY => test_kernel_interrupt_vector;
    "TestKernelRaiseInterrupt", ANY => test_kernel_raise_interrupt;
    "TestKernelDpcMeasure", ANY => test_kernel_dpc_measure;
    "TestKernelDpcFigure", ANY => test_kernel_dpc_figure;
}
