// SPDX-License-Identifier: BSD-2-Clause
//! Clocks: interrupt time, system time, performance counter.
#![expect(unsafe_code, reason = "calls the kernel, reads a counter")]

use super::sys;

/// 100 ns units since boot; moves with the clock interrupt.
///
/// # IRQL
/// Any.
#[must_use]
pub fn interrupt_time() -> u64 {
    sys::KeQueryInterruptTime()
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
