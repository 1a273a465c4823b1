// SPDX-License-Identifier: BSD-2-Clause
//! Timers.
//!
//! Active timers are in a table behind the dispatcher lock, so a timer in freed memory is found. The clock interrupt of any
//! CPU that sees the next deadline pass requests the dispatch interrupt, which expires timers at DISPATCH_LEVEL, signals
//! them and queues their DPCs. Resolution is the tick, as on NT.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;
use crate::export::{ANY, D};
use crate::ke::sched::{self, STATE};
use crate::ke::wait::{init_header, kind};
use crate::ke::{dpc, irql};
use crate::mem::Ptr;
use crate::verifier;

/// An active timer.
#[derive(Clone, Copy, Debug)]
struct Active {
    timer: Ptr,
    due: u64,
    period: u64,
    dpc: Ptr,
    cpu: usize,
}

/// All active timers.
#[derive(Debug)]
pub(crate) struct Timers(Vec<Active>);

impl Timers {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn remove(&mut self, timer: Ptr) -> bool {
        match self.0.iter().position(|a| a.timer == timer) {
            Some(i) => {
                self.0.swap_remove(i);
                true
            }
            None => false,
        }
    }
}

/// The earliest deadline of a timer or a wait.
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Makes sure that the clock looks at `deadline`.
pub(crate) fn note_deadline(deadline: u64) {
    NEXT.fetch_min(deadline, Ordering::AcqRel);
}

/// The clock's part.
pub(crate) fn clock(now: u64) {
    if NEXT.load(Ordering::Acquire) <= now {
        sched::request_dispatch(arch::cpu_number());
    }
}

/// Expires what is due; at DISPATCH_LEVEL.
pub(crate) fn expire() {
    if NEXT.load(Ordering::Acquire) > arch::interrupt_time() {
        return;
    }
    let now = arch::publish_time();
    let mut due = Vec::new();
    {
        let mut state = STATE.lock();
        NEXT.store(u64::MAX, Ordering::Release);
        let mut next = state.expire_waits(now);
        let mut i = 0;
        while i < state.timers.0.len() {
            let active = &mut state.timers.0[i];
            if active.due > now {
                next = next.min(active.due);
                i += 1;
                continue;
            }
            let copy = *active;
            if copy.period == 0 {
                state.timers.0.swap_remove(i);
                copy.timer.set(3, 0u8);
            } else {
                active.due += copy.period * (1 + (now - copy.due) / copy.period);
                next = next.min(active.due);
                i += 1;
            }
            due.push(copy);
        }
        due.sort_by_key(|a| a.due);
        note_deadline(next);
        for active in &due {
            active.timer.set(4, 1i32);
            state.signalled(active.timer);
            if !active.dpc.is_null() {
                let time = arch::system_time();
                dpc::insert_from_timer(
                    active.dpc,
                    time as u32 as usize,
                    (time >> 32) as usize,
                    active.cpu,
                );
            }
        }
    }
}

/// An active timer in the range, for the check of freed memory.
pub(crate) fn active_in(start: Ptr, len: usize) -> Option<Ptr> {
    let state = STATE.lock();
    state
        .timers
        .0
        .iter()
        .map(|a| a.timer)
        .find(|t| (start.0..start.0 + len).contains(&t.0))
}

/// An active timer whose DPC's routine lies in the range, for the check at unload.
pub(crate) fn with_routine_in(start: Ptr, len: usize) -> Option<Ptr> {
    let state = STATE.lock();
    let inside = |dpc: Ptr| !dpc.is_null() && (start.0..start.0 + len).contains(&dpc.ptr(0x18).0);
    state
        .timers
        .0
        .iter()
        .find(|a| inside(a.dpc))
        .map(|a| a.timer)
}

fn check(timer: Ptr) {
    let found: u8 = timer.get(0);
    if found != kind::NOTIFICATION_TIMER && found != kind::SYNCHRONIZATION_TIMER {
        verifier::fail(
            "not_a_timer",
            format_args!("object {timer} has type {found:#x}"),
        );
    }
}

fn initialize(timer: Ptr, synchronization: bool) {
    let active = STATE.lock().timers.0.iter().any(|a| a.timer == timer);
    if active {
        verifier::fail(
            "timer_reinit",
            format_args!("timer {timer} is initialised while it is active"),
        );
    }
    let kind = if synchronization {
        kind::SYNCHRONIZATION_TIMER
    } else {
        kind::NOTIFICATION_TIMER
    };
    init_header(timer, kind, 0);
    timer.add(0x18).fill(0, 0x28);
}

fn set(timer: Ptr, due: i64, period_ms: u32, dpc: Ptr) -> u8 {
    check(timer);
    let now = arch::interrupt_time();
    let due = if due < 0 {
        now + due.unsigned_abs()
    } else {
        now + (due as u64).saturating_sub(arch::system_time())
    };
    let mut state = STATE.lock();
    let was = state.timers.remove(timer);
    timer.set(3, 1u8);
    timer.set(4, 0i32);
    timer.set(0x18, due);
    timer.set(0x30, dpc);
    timer.set(0x3c, period_ms);
    let period = u64::from(period_ms) * 10_000;
    state.timers.0.push(Active {
        timer,
        due,
        period,
        dpc,
        cpu: arch::cpu_number(),
    });
    drop(state);
    note_deadline(due);
    if due <= now {
        let _raised = irql::Raised::to(irql::DISPATCH);
        sched::request_dispatch(arch::cpu_number());
    }
    u8::from(was)
}

extern "win64" fn ke_initialize_timer(timer: Ptr) {
    initialize(timer, false);
}

extern "win64" fn ke_initialize_timer_ex(timer: Ptr, kind: u32) {
    initialize(timer, kind != 0);
}

extern "win64" fn ke_set_timer(timer: Ptr, due: i64, dpc: Ptr) -> u8 {
    set(timer, due, 0, dpc)
}

extern "win64" fn ke_set_timer_ex(timer: Ptr, due: i64, period: i32, dpc: Ptr) -> u8 {
    set(timer, due, period.max(0) as u32, dpc)
}

extern "win64" fn ke_set_coalescable_timer(
    timer: Ptr,
    due: i64,
    period: u32,
    _tolerance: u32,
    dpc: Ptr,
) -> u8 {
    set(timer, due, period, dpc)
}

extern "win64" fn ke_cancel_timer(timer: Ptr) -> u8 {
    check(timer);
    let removed = STATE.lock().timers.remove(timer);
    if removed {
        timer.set(3, 0u8);
    }
    u8::from(removed)
}

extern "win64" fn ke_query_time_increment() -> u32 {
    arch::tick() as u32
}

extern "win64" fn ke_query_performance_counter(frequency: Ptr) -> u64 {
    let (value, hz) = arch::performance_counter();
    if !frequency.is_null() {
        frequency.set(0, hz);
    }
    value
}

extern "win64" fn ke_query_interrupt_time() -> u64 {
    arch::interrupt_time()
}

extern "win64" fn ke_query_precise(qpc: Ptr) -> u64 {
    if !qpc.is_null() {
        qpc.set(0, arch::performance_counter().0);
    }
    arch::interrupt_time()
}

extern "win64" fn ke_query_system_time_precise(time: Ptr) {
    time.set(0, arch::system_time());
}

extern "win64" fn ke_stall_execution_processor(microseconds: u32) {
    arch::stall(u64::from(microseconds));
}

crate::exports! {
    "KeInitializeTimer", ANY => ke_initialize_timer;
    "KeInitializeTimerEx", ANY => ke_initialize_timer_ex;
    "KeSetTimer", D => ke_set_timer;
    "KeSetTimerEx", D => ke_set_timer_ex;
    "KeSetCoalescableTimer", D => ke_set_coalescable_timer;
    "KeCancelTimer", D => ke_cancel_timer;
    "KeQueryTimeIncrement", ANY => ke_query_time_increment;
    "KeQueryPerformanceCounter", ANY => ke_query_performance_counter;
    "KeQueryInterruptTime", ANY => ke_query_interrupt_time;
    "KeQueryInterruptTimePrecise", ANY => ke_query_precise;
    "KeQuerySystemTimePrecise", ANY => ke_query_system_time_precise;
    "KeStallExecutionProcessor", ANY => ke_stall_execution_processor;
}
