// SPDX-License-Identifier: BSD-2-Clause
//! The local APIC and the I/O APIC.
//!
//! The local APIC is used in x2APIC mode where there is one: a register access is then an MSR access, which a hypervisor
//! handles without decoding an instruction. Drivers reach it through CR8 only.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::{asm as insn, cpu, trap};
use crate::mem::Ptr;
use crate::mm;
use crate::sync::Lock;

static LOCAL: AtomicUsize = AtomicUsize::new(0);
/// Whether x2APIC mode is used.
static X2: AtomicBool = AtomicBool::new(false);
static IO: AtomicUsize = AtomicUsize::new(0);
static IO_LOCK: Lock<()> = Lock::new(());
/// Timer counts (divided by 16) for one tick.
static TICK_COUNT: AtomicU32 = AtomicU32::new(0);

const EOI: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const ICR_LOW: usize = 0x300;
const ICR_HIGH: usize = 0x310;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;

fn reg(offset: usize) -> &'static AtomicU32 {
    Ptr(LOCAL.load(Ordering::Relaxed)).atomic32(offset)
}

fn read(offset: usize) -> u32 {
    if X2.load(Ordering::Relaxed) {
        insn::rdmsr(0x800 + offset as u32 / 16) as u32
    } else {
        reg(offset).load(Ordering::SeqCst)
    }
}

fn write(offset: usize, value: u32) {
    if X2.load(Ordering::Relaxed) {
        insn::wrmsr(0x800 + offset as u32 / 16, u64::from(value));
    } else {
        reg(offset).store(value, Ordering::SeqCst);
    }
}

/// Maps the registers; once.
pub(super) fn map(io_apic: u64) {
    LOCAL.store(mm::map::device(0xfee0_0000, 0x1000).0, Ordering::Relaxed);
    if io_apic != 0 {
        IO.store(mm::map::device(io_apic, 0x1000).0, Ordering::Relaxed);
    }
}

/// This CPU's id; before [`map`] that of the first CPU by CPUID.
pub(super) fn initial_id() -> u32 {
    insn::cpuid(1, 0)[1] >> 24
}

/// Turns on the local APIC of this CPU.
pub(super) fn enable() {
    let base = insn::rdmsr(0x1b) | 1 << 11;
    insn::wrmsr(0x1b, base);
    if insn::cpuid(1, 0)[2] >> 21 & 1 != 0 {
        insn::wrmsr(0x1b, base | 1 << 10);
        X2.store(true, Ordering::Relaxed);
    }
    write(SPURIOUS, 0x100 | u32::from(trap::SPURIOUS_VECTOR));
    write(LVT_LINT0, 1 << 16);
    write(LVT_LINT1, 1 << 16);
}

/// End of interrupt.
pub fn eoi() {
    write(EOI, 0);
}

fn send(apic_id: u32, command: u32) {
    if X2.load(Ordering::Relaxed) {
        return insn::wrmsr(0x830, u64::from(apic_id) << 32 | u64::from(command));
    }
    let enabled = insn::disable_interrupts();
    while read(ICR_LOW) & 1 << 12 != 0 {
        insn::pause();
    }
    write(ICR_HIGH, apic_id << 24);
    write(ICR_LOW, command);
    insn::restore_interrupts(enabled);
}

/// Sends `vector` to CPU `number`.
pub fn send_to(number: usize, vector: u8) {
    if number == cpu::cpu_number() {
        send_self(vector);
    } else {
        send(cpu::cpu_of(number).apic_id, u32::from(vector));
    }
}

/// Sends `vector` to this CPU.
pub fn send_self(vector: u8) {
    send(0, 1 << 18 | u32::from(vector));
}

/// Sends a non-maskable interrupt to CPU `number`.
pub fn send_nmi(number: usize) {
    send(cpu::cpu_of(number).apic_id, 4 << 8);
}

/// Starts the CPU `apic_id` at page 8.
pub(super) fn start(apic_id: u32) {
    send(apic_id, 0x4500);
    super::time::stall(10_000);
    send(apic_id, 0x4608);
    super::time::stall(300);
    send(apic_id, 0x4608);
}

/// Measures the timer against the time stamp counter; sets the count of one tick of `tick` 100 ns units.
pub(super) fn calibrate_timer(tick: u64) {
    write(TIMER_DIVIDE, 3);
    write(LVT_TIMER, 1 << 16);
    write(TIMER_INITIAL, u32::MAX);
    let begin = insn::rdtsc();
    super::time::stall(5_000);
    let counted = u64::from(u32::MAX - read(TIMER_CURRENT));
    let elapsed = insn::rdtsc() - begin;
    write(TIMER_INITIAL, 0);
    let tick_tsc = u128::from(super::time::tsc_frequency()) * u128::from(tick) / 10_000_000;
    let count = u128::from(counted) * tick_tsc / u128::from(elapsed.max(1));
    TICK_COUNT.store(
        count.clamp(100, u128::from(u32::MAX)) as u32,
        Ordering::Relaxed,
    );
}

/// Starts the periodic clock of this CPU.
pub(super) fn start_clock() {
    write(TIMER_DIVIDE, 3);
    write(LVT_TIMER, 1 << 17 | u32::from(trap::CLOCK_VECTOR));
    write(TIMER_INITIAL, TICK_COUNT.load(Ordering::Relaxed));
}

fn io_write(index: u32, value: u32) {
    let base = Ptr(IO.load(Ordering::Relaxed));
    base.atomic32(0).store(index, Ordering::SeqCst);
    base.atomic32(0x10).store(value, Ordering::SeqCst);
}

/// Routes the line `gsi` to `vector` on CPU `number`, level triggered and active low. Without an I/O APIC nothing happens.
pub fn route_line(gsi: u32, vector: u8, number: usize) {
    if IO.load(Ordering::Relaxed) == 0 {
        return;
    }
    let _guard = IO_LOCK.lock();
    io_write(0x11 + gsi * 2, cpu::cpu_of(number).apic_id << 24);
    io_write(0x10 + gsi * 2, 1 << 15 | 1 << 13 | u32::from(vector));
}

/// Masks the line `gsi`.
pub fn mask_line(gsi: u32) {
    if IO.load(Ordering::Relaxed) == 0 {
        return;
    }
    let _guard = IO_LOCK.lock();
    io_write(0x10 + gsi * 2, 1 << 16);
}
