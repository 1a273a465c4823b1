// SPDX-License-Identifier: BSD-2-Clause
//! Clocks: interrupt time, system time, performance counter.
#![expect(unsafe_code, reason = "calls the kernel, reads a counter")]

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::sys;
use crate::{Result, Status, irql};

/// 100 ns units since boot; moves with the clock interrupt, and with the performance counter while `Frozen` lives.
///
/// # IRQL
/// Any.
#[must_use]
pub fn interrupt_time() -> u64 {
    let lag = sys::with_clock_lag(|lag| lag.load(Ordering::Relaxed));
    sys::KeQueryInterruptTime() + lag.saturating_sub(1)
}

/// The performance counter in units of 100 ns. It moves with interrupts off.
///
/// # IRQL
/// Any.
#[must_use]
pub fn counter_time() -> u64 {
    const HZ: u64 = 10_000_000;
    let (now, frequency) = performance_counter();
    let frequency = frequency.max(1);
    // Split so that nothing overflows.
    (now / frequency) * HZ + (now % frequency) * HZ / frequency
}

/// Whether this image's processor is alone with its interrupts off: timers are looked at by hand then.
pub(crate) fn is_frozen() -> bool {
    sys::with_clock_lag(|lag| lag.load(Ordering::Relaxed)) != 0
}

/// A processor that came here at HIGH_LEVEL while all others stand still: interrupts masked, IRQL at DISPATCH_LEVEL, so that what
/// that level allows may be called and nothing can interrupt it. Interrupt time is kept moving by [`Self::tick`]. Undone by the
/// drop.
pub(crate) struct Frozen {
    enabled: bool,
    interrupt: u64,
    counter: u64,
    not_send: PhantomData<*mut ()>,
}

impl Frozen {
    /// `INVALID_DEVICE_STATE` below HIGH_LEVEL.
    ///
    /// # IRQL
    /// HIGH_LEVEL, on the only processor that runs.
    pub(crate) fn enter() -> Result<Self> {
        if irql::current() != irql::HIGH_LEVEL {
            return Err(Status::INVALID_DEVICE_STATE);
        }
        let enabled = sys::disable_interrupts();
        sys::KeLowerIrql(irql::DISPATCH_LEVEL);
        let frozen = Self {
            enabled,
            interrupt: sys::KeQueryInterruptTime(),
            counter: counter_time(),
            not_send: PhantomData,
        };
        frozen.tick();
        Ok(frozen)
    }

    /// Brings interrupt time up to date.
    pub(crate) fn tick(&self) {
        let passed = counter_time().saturating_sub(self.counter);
        let lag = (self.interrupt + passed).saturating_sub(sys::KeQueryInterruptTime());
        sys::with_clock_lag(|stored| stored.store(lag + 1, Ordering::Relaxed));
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        sys::with_clock_lag(|lag| lag.store(0, Ordering::Relaxed));
        sys::KfRaiseIrql(irql::HIGH_LEVEL);
        if self.enabled {
            sys::enable_interrupts();
        }
    }
}

/// 100 ns units since 1601, UTC.
///
/// # IRQL
/// Any.
#[must_use]
pub fn system_time() -> u64 {
    sys::KeQuerySystemTime()
}

/// The performance counter and its frequency in Hz: fine enough for microseconds.
///
/// # IRQL
/// Any.
#[must_use]
pub fn performance_counter() -> (u64, u64) {
    let mut frequency = 0_i64;
    // SAFETY: a valid pointer.
    let now = unsafe { sys::KeQueryPerformanceCounter(&mut frequency) };
    (now.cast_unsigned(), frequency.cast_unsigned())
}

/// The time stamp counter, read behind all earlier loads.
///
/// # IRQL
/// Any.
#[must_use]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: changes nothing but the outputs. Not `nomem`: accesses must not move across it.
    unsafe {
        core::arch::asm!("lfence", "rdtsc", out("eax") low, out("edx") high,
            options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}
