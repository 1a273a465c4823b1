// SPDX-License-Identifier: BSD-2-Clause
//! Clocks: interrupt time, system time, performance counter.
#![expect(unsafe_code, reason = "calls the kernel")]

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
