// SPDX-License-Identifier: BSD-2-Clause
//! The machine as host tests see it: one CPU per test thread, no interrupts, an IRQL per thread.

use core::cell::Cell;
use std::io::Write;

std::thread_local! {
    static IRQL: Cell<u8> = const { Cell::new(0) };
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Turns interrupts off; returns whether they were on.
pub fn disable_interrupts() -> bool {
    false
}

/// Undoes [`disable_interrupts`].
pub fn restore_interrupts(_enabled: bool) {}

/// Writes one byte of the log.
pub fn log_byte(byte: u8) {
    let _ = std::io::stderr().write_all(&[byte]);
}

/// The current IRQL.
pub fn irql() -> u8 {
    IRQL.with(Cell::get)
}

/// Sets the IRQL.
pub fn set_irql(level: u8) {
    IRQL.with(|irql| irql.set(level));
}

/// Tells the CPU that it is spinning.
pub fn pause() {
    std::thread::yield_now();
}

/// Index of this CPU.
pub fn cpu_number() -> usize {
    0
}

/// The thread object that runs on this CPU.
pub fn current_thread() -> usize {
    THREAD.with(Cell::get)
}

/// The time stamp counter.
pub fn rdtsc() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |d| d.as_nanos() as u64)
}

/// Ends the run.
pub fn shutdown(success: bool) -> ! {
    panic!("run ended, success: {success}");
}

/// Reads a 32-bit register of PCI configuration space; all ones when there is no device or no bus.
pub fn pci_read(_bus: u8, _device: u8, _function: u8, _offset: u8) -> u32 {
    u32::MAX
}

/// Writes a 32-bit register of PCI configuration space.
pub fn pci_write(_bus: u8, _device: u8, _function: u8, _offset: u8, _value: u32) {}

/// No CPU ever halts here.
pub fn busy_ticks() -> u64 {
    rdtsc()
}
