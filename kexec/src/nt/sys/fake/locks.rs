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

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration as Real;

use super::{INTERRUPTS_OFF, Kernel, api::run_dpcs, at_least, at_most, irql, set_irql, thread_id};
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
    // DISPATCH_LEVEL and above, as `poll_on` does on the only processor, changes nothing while they are off.
    assert!(
        level >= 2 || !INTERRUPTS_OFF.with(Cell::get) || std::thread::panicking(),
        "KeLowerIrql: interrupts are off"
    );
    at_least("KeLowerIrql", level);
    set_irql(level);
    if level < 2 {
        run_dpcs(&Kernel::current());
    }
}

/// Runs `f` as an interrupt at `level` that comes at this instruction, whatever the thread is doing. What it queues stays queued.
pub fn interrupt<T>(level: KIRQL, f: impl FnOnce() -> T) -> T {
    at_most("an interrupt", level);
    let old = irql();
    set_irql(level);
    let value = f();
    set_irql(old);
    value
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

pub const fn probe<const DISPLACEMENT: u32>() {}

pub(super) fn acquire(call: &str, lock: *mut usize) {
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

pub(super) fn release(call: &str, lock: *mut usize) {
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

pub unsafe fn KeAcquireInStackQueuedSpinLock(lock: *mut usize, handle: *mut KLOCK_QUEUE_HANDLE) {
    at_most("KeAcquireInStackQueuedSpinLock", 2);
    let old = irql();
    set_irql(2);
    acquire("KeAcquireInStackQueuedSpinLock", lock);
    let taken = KLOCK_QUEUE_HANDLE {
        Next: core::ptr::null_mut(),
        Lock: lock,
        OldIrql: old,
    };
    // SAFETY: the caller gives storage for a handle.
    unsafe { handle.write(taken) };
}

pub unsafe fn KeReleaseInStackQueuedSpinLock(handle: *mut KLOCK_QUEUE_HANDLE) {
    if unwinding() {
        return;
    }
    let level = irql();
    assert!(
        level == 2,
        "KeReleaseInStackQueuedSpinLock: IRQL {level}, 2 needed"
    );
    // SAFETY: filled in by the acquisition, by contract.
    let handle = unsafe { &*handle };
    release("KeReleaseInStackQueuedSpinLock", handle.Lock);
    KeLowerIrql(handle.OldIrql);
}

std::thread_local! {
    static REGIONS: Cell<u32> = const { Cell::new(0) };
}

pub unsafe fn KeEnterCriticalRegion() {
    at_most("KeEnterCriticalRegion", 1);
    REGIONS.with(|count| count.set(count.get() + 1));
}

pub unsafe fn KeLeaveCriticalRegion() {
    at_most("KeLeaveCriticalRegion", 1);
    let left = REGIONS.with(|count| count.get().checked_sub(1).map(|left| count.set(left)));
    assert!(left.is_some(), "KeLeaveCriticalRegion: not inside one");
}

/// Waits as KeWaitForSingleObject does; the owner is the thread's number.
pub unsafe fn ExAcquireFastMutexUnsafe(mutex: *mut FAST_MUTEX) {
    at_most("ExAcquireFastMutexUnsafe", 1);
    assert!(
        irql() == 1 || REGIONS.with(Cell::get) > 0,
        "ExAcquireFastMutexUnsafe: APCs are not disabled"
    );
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let mut waited = Real::ZERO;
    loop {
        // SAFETY: a live mutex by contract, reached under the kernel's lock only.
        let mutex = unsafe { &mut *mutex };
        assert!(
            mutex.Count <= 1,
            "ExAcquireFastMutexUnsafe: not a fast mutex"
        );
        if mutex.Count == 1 {
            mutex.Count = 0;
            mutex.Owner = KeGetCurrentThread();
            return;
        }
        assert!(
            mutex.Owner != KeGetCurrentThread(),
            "ExAcquireFastMutexUnsafe: owned by this thread already"
        );
        let step = Real::from_millis(10);
        let (back, result) = kernel
            .changed
            .wait_timeout(state, step)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state = back;
        waited += if result.timed_out() { step } else { Real::ZERO };
        assert!(
            waited < super::STUCK,
            "ExAcquireFastMutexUnsafe: never released"
        );
    }
}

pub unsafe fn ExReleaseFastMutexUnsafe(mutex: *mut FAST_MUTEX) {
    at_most("ExReleaseFastMutexUnsafe", 1);
    let kernel = Kernel::current();
    let state = kernel.lock();
    // SAFETY: as in the acquisition.
    let view = unsafe { &mut *mutex };
    let owned = view.Count == 0 && view.Owner == KeGetCurrentThread();
    view.Count = 1;
    view.Owner = core::ptr::null_mut();
    drop(state);
    kernel.changed.notify_all();
    assert!(
        owned || unwinding(),
        "ExReleaseFastMutexUnsafe: not owned by this thread"
    );
}

/// This thread, as a number that is never zero: every host thread is a processor.
pub fn runner_at_dispatch() -> usize {
    thread_id() as usize
}

/// Real time passes, not the fake clock's: five milliseconds, so that whoever counts pauses (as the stop of an executor does) waits long
/// enough for a host thread that stands still.
pub fn pause(_level: crate::Passive) {
    at_most("pause", 0);
    run_dpcs(&Kernel::current());
    std::thread::sleep(Real::from_millis(5));
}
