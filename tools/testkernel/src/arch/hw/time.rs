// SPDX-License-Identifier: BSD-2-Clause
//! Time: the time stamp counter scaled to 100 ns units, the clock interrupt and the page of time values that drivers
//! read inline (`KUSER_SHARED_DATA`).
//!
//! The clock interrupt (IRQL 13) of every CPU publishes the time, also while all of them spin at DISPATCH_LEVEL. Values follow the
//! counter, so ticks that a busy host loses are made up.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Frame, asm as insn, cpu, xen};
use crate::ke;
use crate::mem::Ptr;
use crate::sync::Lock;

/// One tick in 100 ns units: NT's usual 15.625 ms.
pub(super) const TICK: u64 = 156_250;

static FREQUENCY: AtomicU64 = AtomicU64::new(1_000_000_000);
static START: AtomicU64 = AtomicU64::new(0);
/// The interrupt time that was published last.
static PUBLISHED: Lock<u64> = Lock::new(0);
static SHARED: AtomicUsize = AtomicUsize::new(0);
/// System time at start: 2026-01-01 unless boot.cfg says otherwise.
static EPOCH: AtomicU64 = AtomicU64::new(134_117_280_000_000_000);

/// Finds the counter's frequency: Xen says it, else CPUID, else the PC's interval timer is asked.
pub(super) fn init() {
    let khz = match xen::leaves() {
        Some(base) => u64::from(insn::cpuid(base + 3, 0)[2]),
        None => 0,
    };
    let hz = if khz != 0 {
        khz * 1000
    } else {
        by_interval_timer()
    };
    FREQUENCY.store(hz.max(1_000_000), Ordering::Relaxed);
    START.store(insn::rdtsc(), Ordering::Relaxed);
}

/// Counts 10 ms of channel 2 of the 8254.
fn by_interval_timer() -> u64 {
    let count: u16 = 11932;
    insn::outb(0x61, insn::inb(0x61) & !2 | 1);
    insn::outb(0x43, 0xb0);
    insn::outb(0x42, count as u8);
    insn::outb(0x42, (count >> 8) as u8);
    let begin = insn::rdtsc();
    let mut rounds = 0u32;
    while insn::inb(0x61) & 0x20 == 0 && rounds < 10_000_000 {
        rounds += 1;
    }
    (insn::rdtsc() - begin) * 100
}

/// The shared page, writable; time is published there from now on.
pub(super) fn set_shared_page(page: Ptr) {
    page.set(0x260, 14393u32);
    page.set(0x264, 1u32);
    page.set(0x268, 1u8);
    page.set(0x26c, 10u32);
    page.set(0x270, 0u32);
    page.set(0x4, 0x0fa0_0000u32);
    SHARED.store(page.0, Ordering::Release);
    publish();
}

/// Sets the system time at start, 100 ns units since 1601.
pub fn set_epoch(value: u64) {
    EPOCH.store(value, Ordering::Relaxed);
}

/// Counts per second of the time stamp counter.
pub fn tsc_frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// One tick in 100 ns units.
pub fn tick() -> u64 {
    TICK
}

/// Counter and frequency for `KeQueryPerformanceCounter`: 10 MHz, as Windows presents it.
pub fn performance_counter() -> (u64, u64) {
    (interrupt_time(), 10_000_000)
}

/// 100 ns units since start.
pub fn interrupt_time() -> u64 {
    let counts = insn::rdtsc().wrapping_sub(START.load(Ordering::Relaxed));
    (u128::from(counts) * 10_000_000 / u128::from(tsc_frequency())) as u64
}

/// 100 ns units since 1601.
pub fn system_time() -> u64 {
    EPOCH.load(Ordering::Relaxed) + interrupt_time()
}

/// Spins for `microseconds`.
pub fn stall(microseconds: u64) {
    let begin = insn::rdtsc();
    let counts = (u128::from(microseconds) * u128::from(tsc_frequency()) / 1_000_000) as u64;
    while insn::rdtsc().wrapping_sub(begin) < counts {
        insn::pause();
    }
}

/// A KSYSTEM_TIME: the readers compare the two high words, so the second goes first.
fn publish_at(page: Ptr, offset: usize, value: u64) {
    let high = (value >> 32) as u32;
    page.atomic32(offset + 8).store(high, Ordering::SeqCst);
    page.atomic32(offset).store(value as u32, Ordering::SeqCst);
    page.atomic32(offset + 4).store(high, Ordering::SeqCst);
}

/// Publishes the time unless a later one is published. The clock of every CPU does it, and so does the expiry of timers: a
/// thread whose delay is over must find that the published time has passed as well.
pub(crate) fn publish() -> u64 {
    let last = PUBLISHED.lock();
    let now = interrupt_time();
    let page = Ptr(SHARED.load(Ordering::Acquire));
    if page.is_null() || now < *last {
        return now;
    }
    let mut last = last;
    *last = now;
    publish_at(page, 0x08, now);
    publish_at(page, 0x14, EPOCH.load(Ordering::Relaxed) + now);
    publish_at(page, 0x320, now / TICK);
    now
}

/// The clock interrupt, at CLOCK_LEVEL; `frame` and `irql` are what it interrupted.
pub(super) fn clock_interrupt(frame: &Frame, irql: u8) {
    cpu().ticks.fetch_add(1, Ordering::Relaxed);
    let now = publish();
    ke::timer::clock(now);
    ke::sched::clock();
    ke::dpc::watch(frame, irql);
    ke::watchdog::clock(now, frame, irql);
}
