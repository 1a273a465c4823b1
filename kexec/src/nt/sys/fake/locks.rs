// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's IRQL and spin locks.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration as Real;

use super::{Kernel, api::run_dpcs, at_least, at_most, irql, set_irql, thread_id};
use crate::nt::sys::*;

pub fn KeGetCurrentIrql() -> KIRQL {
    irql()
}

pub fn KfRaiseIrql(level: KIRQL) -> KIRQL {
    at_most("KfRaiseIrql", level);
    let old = irql();
    set_irql(level);
    old
}

pub fn KeRaiseIrqlToDpcLevel() -> KIRQL {
    at_most("KeRaiseIrqlToDpcLevel", 2);
    let old = irql();
    set_irql(2);
    old
}

pub fn KeLowerIrql(level: KIRQL) {
    assert!(
        !INTERRUPTS_OFF.with(std::cell::Cell::get) || std::thread::panicking(),
        "KeLowerIrql: interrupts are off"
    );
    at_least("KeLowerIrql", level);
    set_irql(level);
    if level < 2 {
        run_dpcs(&Kernel::current());
    }
}

std::thread_local! {
    static INTERRUPTS_OFF: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether interrupts were on.
pub fn disable_interrupts() -> bool {
    !INTERRUPTS_OFF.with(|off| off.replace(true))
}

pub fn enable_interrupts() {
    assert!(
        INTERRUPTS_OFF.with(|off| off.replace(false)),
        "interrupts were on already"
    );
}

pub fn cpu_relax() {
    std::thread::yield_now();
}

fn acquire(call: &str, lock: *mut usize) {
    // SAFETY: a live lock word, given as a raw pointer by contract.
    let word = unsafe { AtomicUsize::from_ptr(lock) };
    let me = thread_id() as usize;
    let mut spins = 0_u64;
    while word
        .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        assert!(
            word.load(Ordering::Relaxed) != me,
            "{call}: lock already held by this processor"
        );
        std::thread::yield_now();
        spins += 1;
        assert!(spins < 50_000_000, "{call}: lock never released");
    }
}

fn release(call: &str, lock: *mut usize) {
    // SAFETY: as in `acquire`.
    let word = unsafe { AtomicUsize::from_ptr(lock) };
    let held = word.swap(0, Ordering::Release);
    assert!(
        held == thread_id() as usize,
        "{call}: lock not held by this processor"
    );
}

pub unsafe fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> KIRQL {
    at_most("KeAcquireSpinLockRaiseToDpc", 2);
    let old = irql();
    set_irql(2);
    acquire("KeAcquireSpinLockRaiseToDpc", lock);
    old
}

pub unsafe fn KeReleaseSpinLock(lock: *mut usize, level: KIRQL) {
    if unwinding() {
        return;
    }
    assert!(irql() == 2, "KeReleaseSpinLock: IRQL {}, 2 needed", irql());
    release("KeReleaseSpinLock", lock);
    KeLowerIrql(level);
}

pub unsafe fn KeAcquireSpinLockAtDpcLevel(lock: *mut usize) {
    at_least("KeAcquireSpinLockAtDpcLevel", 2);
    acquire("KeAcquireSpinLockAtDpcLevel", lock);
}

pub unsafe fn KeReleaseSpinLockFromDpcLevel(lock: *mut usize) {
    at_least("KeReleaseSpinLockFromDpcLevel", 2);
    release("KeReleaseSpinLockFromDpcLevel", lock);
}

/// This thread, as a number that is never zero: every host thread is a processor.
pub fn runner_at_dispatch() -> usize {
    thread_id() as usize
}

/// Real time passes, not the fake clock's.
pub fn pause(_level: crate::Passive) {
    at_most("pause", 0);
    run_dpcs(&Kernel::current());
    std::thread::sleep(Real::from_millis(1));
}
