// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's events, waits, timers and clocks.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration as Real;

use super::{Kernel, STUCK, Timer, at_most};
use crate::nt::sys::*;

fn signal(object: PVOID) -> &'static AtomicI32 {
    // SAFETY: every dispatcher object has its signal state, an aligned i32, at offset 4.
    let state = unsafe { object.cast::<i32>().add(1) };
    // SAFETY: live for as long as the object, which the caller guarantees; only used inside one call.
    unsafe { AtomicI32::from_ptr(state) }
}

pub unsafe fn KeInitializeEvent(event: *mut KEVENT, kind: u32, state: u8) {
    let list = core::ptr::null_mut();
    let header = DISPATCHER_HEADER {
        Type: kind as u8,
        Signalling: 0,
        Size: 6,
        Reserved: 0,
        SignalState: i32::from(state != 0),
        WaitListHead: LIST_ENTRY {
            Flink: list,
            Blink: list,
        },
    };
    // SAFETY: the caller gives storage for a KEVENT.
    unsafe { event.write(KEVENT { Header: header }) };
}

pub unsafe fn KeSetEvent(event: *mut KEVENT, _increment: i32, wait: u8) -> i32 {
    at_most("KeSetEvent", 2);
    assert!(wait == 0, "KeSetEvent: Wait is never used");
    let kernel = Kernel::current();
    let state = kernel.lock();
    let before = signal(event.cast()).swap(1, Ordering::SeqCst);
    drop(state);
    kernel.changed.notify_all();
    before
}

pub unsafe fn KeClearEvent(event: *mut KEVENT) {
    at_most("KeClearEvent", 2);
    signal(event.cast()).store(0, Ordering::SeqCst);
}

pub unsafe fn KeWaitForSingleObject(
    object: PVOID,
    _reason: u32,
    _mode: i8,
    _alertable: u8,
    timeout: *mut i64,
) -> NTSTATUS {
    // SAFETY: NULL or a pointer to a timeout, by contract.
    let timeout = unsafe { timeout.as_ref() }.copied();
    if timeout == Some(0) {
        at_most("KeWaitForSingleObject", 2);
    } else {
        at_most("KeWaitForSingleObject", 1);
    }
    let kernel = Kernel::current();
    let deadline = timeout.map(|ticks| {
        if ticks < 0 {
            kernel.now() + ticks.unsigned_abs()
        } else {
            ticks as u64
        }
    });
    let thread = kernel.lock().threads.get(&(object as usize)).cloned();
    let mut waited = Real::ZERO;
    let mut timed_out = false;
    let mut state = kernel.lock();
    let mut mark = state.idle_mark();
    loop {
        let taken = match &thread {
            Some(thread) => *thread
                .done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
            None => {
                let word = signal(object);
                // SAFETY: the type is the first byte of a dispatcher object.
                let kind = unsafe { object.cast::<u8>().read() };
                let auto = u32::from(kind) == SynchronizationEvent;
                if auto {
                    word.swap(0, Ordering::SeqCst) != 0
                } else {
                    word.load(Ordering::SeqCst) != 0
                }
            }
        };
        if taken {
            return 0;
        }
        if deadline.is_some_and(|at| timeout == Some(0) || kernel.now() >= at) {
            return crate::status::STATUS_TIMEOUT;
        }
        if timed_out && kernel.auto_clock() && state.is_idle(mark) {
            timed_out = false;
            drop(state);
            let next = kernel.next_due().into_iter().chain(deadline).min();
            if let Some(at) = next {
                kernel.advance_to(at);
            }
            state = kernel.lock();
            mark = state.idle_mark();
            continue;
        }
        let step = Real::from_millis(10);
        let (back, result) = kernel
            .changed
            .wait_timeout(state, step)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state = back;
        timed_out = result.timed_out();
        if timed_out {
            waited += step;
            assert!(
                waited < STUCK,
                "KeWaitForSingleObject: nothing ends this wait"
            );
        }
    }
}

pub unsafe fn KeInitializeTimerEx(timer: *mut KTIMER, kind: u32) {
    // SAFETY: the caller gives storage for a KTIMER; all-zero is a valid value.
    unsafe { timer.write_bytes(0, 1) };
    // SAFETY: as above.
    unsafe { (*timer).Header.Type = 8 + kind as u8 };
}

pub unsafe fn KeSetTimerEx(timer: *mut KTIMER, due: i64, period: i32, dpc: *mut KDPC) -> u8 {
    at_most("KeSetTimerEx", 2);
    let kernel = Kernel::current();
    let now = kernel.now();
    let mut state = kernel.lock();
    let before = state.timers.len();
    state.timers.retain(|entry| entry.timer != timer as usize);
    let was = state.timers.len() != before;
    // SAFETY: by contract an initialised timer.
    unsafe { (*timer).Dpc = dpc };
    let due = if due < 0 {
        now + due.unsigned_abs()
    } else {
        due as u64
    };
    state.timers.push(Timer {
        timer: timer as usize,
        due,
        period: u64::from(period.unsigned_abs()) * 10_000,
    });
    u8::from(was)
}

pub unsafe fn KeCancelTimer(timer: *mut KTIMER) -> u8 {
    at_most("KeCancelTimer", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.timers.len();
    state.timers.retain(|entry| entry.timer != timer as usize);
    u8::from(state.timers.len() != before)
}

pub fn KeQueryInterruptTime() -> u64 {
    Kernel::current().now()
}

pub fn KeQuerySystemTime() -> u64 {
    // 2020-01-01 in 100 ns units since 1601, plus the fake clock.
    132_223_104_000_000_000 + Kernel::current().now()
}

/// The fake clock in 100 ns units: budgets measured with it are deterministic.
pub unsafe fn KeQueryPerformanceCounter(frequency: *mut i64) -> i64 {
    if !frequency.is_null() {
        // SAFETY: not NULL, so a valid pointer by contract.
        unsafe { frequency.write(10_000_000) };
    }
    Kernel::current().counter() as i64
}

/// See the module of the same name for Windows: here it belongs to the session.
pub fn with_clock_lag<T>(f: impl FnOnce(&core::sync::atomic::AtomicU64) -> T) -> T {
    f(&Kernel::current().clock_lag)
}
