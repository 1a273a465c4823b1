// SPDX-License-Identifier: BSD-2-Clause
//! Dispatcher objects and waits.
//!
//! An object is the driver's memory: type byte at 0, signal state at 4, an (unused) list head at 8. The kernel
//! keeps the waits in its own tables, so it holds no pointer to an object that nobody waits on, and a wait on freed memory is
//! found. Everything is under the dispatcher lock.

use alloc::vec::Vec;

use crate::arch;
use crate::export::{A, ANY, D};
use crate::ke::irql;
use crate::ke::sched::{self, STATE, State};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::verifier;

/// Type bytes of dispatcher headers.
pub(crate) mod kind {
    pub(crate) const NOTIFICATION_EVENT: u8 = 0;
    pub(crate) const SYNCHRONIZATION_EVENT: u8 = 1;
    pub(crate) const MUTANT: u8 = 2;
    pub(crate) const SEMAPHORE: u8 = 5;
    pub(crate) const NOTIFICATION_TIMER: u8 = 8;
    pub(crate) const SYNCHRONIZATION_TIMER: u8 = 9;
}

/// How long to wait, in 100 ns units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// For ever.
    Never,
    /// Do not block.
    Poll,
    /// This long from now.
    Relative(u64),
    /// Until this system time.
    Absolute(u64),
}

impl Timeout {
    /// From the pointer that drivers pass.
    pub fn from_ptr(p: Ptr) -> Self {
        if p.is_null() {
            return Self::Never;
        }
        match p.get::<i64>(0) {
            0 => Self::Poll,
            t if t < 0 => Self::Relative(t.unsigned_abs()),
            t => Self::Absolute(t as u64),
        }
    }

    /// When it is over on the interrupt clock.
    fn deadline(self) -> u64 {
        let now = arch::interrupt_time();
        match self {
            Self::Never => u64::MAX,
            Self::Poll => now,
            Self::Relative(t) => now.saturating_add(t),
            Self::Absolute(t) => now + t.saturating_sub(arch::system_time()),
        }
    }
}

/// A blocked wait.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) objects: Vec<Ptr>,
    pub(crate) all: bool,
    pub(crate) deadline: u64,
}

/// Initialises a dispatcher header.
pub(crate) fn init_header(object: Ptr, kind: u8, state: i32) {
    object.set(0, u32::from(kind));
    object.set(4, state);
    object.set(8, object.add(8));
    object.set(16, object.add(8));
}

fn check(object: Ptr) {
    if !matches!(object.get::<u8>(0), 0 | 1 | 2 | 5 | 6 | 8 | 9) {
        verifier::fail(
            "not_a_dispatcher_object",
            format_args!("object {object} has type {:#x}", object.get::<u8>(0)),
        );
    }
}

fn is_signalled(object: Ptr, thread: Ptr) -> bool {
    object.get::<i32>(4) > 0 || object.get::<u8>(0) == kind::MUTANT && object.ptr(0x28) == thread
}

/// What a satisfied wait does to the object.
fn consume(object: Ptr, thread: Ptr) {
    match object.get::<u8>(0) {
        kind::SYNCHRONIZATION_EVENT | kind::SYNCHRONIZATION_TIMER => object.set(4, 0i32),
        kind::SEMAPHORE => object.set(4, object.get::<i32>(4) - 1),
        kind::MUTANT => {
            object.set(4, object.get::<i32>(4) - 1);
            object.set(0x28, thread);
            super::mutex::acquired(object, thread);
        }
        _ => {}
    }
}

/// Satisfies the wait if the objects allow it; the index (0 for "all") or `None`.
fn try_satisfy(objects: &[Ptr], all: bool, thread: Ptr) -> Option<i32> {
    if all {
        if !objects.iter().all(|o| is_signalled(*o, thread)) {
            return None;
        }
        for o in objects {
            consume(*o, thread);
        }
        return Some(0);
    }
    let index = objects.iter().position(|o| is_signalled(*o, thread))?;
    consume(objects[index], thread);
    Some(index as i32)
}

impl State {
    /// After the signal state of `object` was raised: wakes whose wait is satisfied, the longest waiting first.
    pub(crate) fn signalled(&mut self, object: Ptr) {
        let mut i = 0;
        while i < self.waiting.len() && object.get::<i32>(4) > 0 {
            let slot = self.waiting[i];
            let entry = self.entry(slot);
            let thread = entry.thread.ptr();
            let satisfied = entry
                .wait
                .as_ref()
                .filter(|w| w.objects.contains(&object))
                .and_then(|w| try_satisfy(&w.objects, w.all, thread));
            match satisfied {
                Some(result) => self.wake(i, result),
                None => i += 1,
            }
        }
    }

    /// Ends the wait of the `index`th waiting thread.
    fn wake(&mut self, index: usize, result: i32) {
        let slot = self.waiting.remove(index);
        let entry = self.entry(slot);
        entry.wait = None;
        entry.result = result;
        self.make_ready(slot);
    }

    /// Ends the waits whose time is over; returns the next deadline.
    pub(crate) fn expire_waits(&mut self, now: u64) -> u64 {
        let mut next = u64::MAX;
        let mut i = 0;
        while i < self.waiting.len() {
            let slot = self.waiting[i];
            let deadline = self
                .entry(slot)
                .wait
                .as_ref()
                .map_or(u64::MAX, |w| w.deadline);
            if deadline <= now {
                self.wake(i, status::TIMEOUT);
            } else {
                next = next.min(deadline);
                i += 1;
            }
        }
        next
    }
}

/// Waits for one or all of `objects`: the index of the one (0 for all) or `TIMEOUT`. Up to `APC_LEVEL` unless polling.
pub fn multiple(objects: &[Ptr], all: bool, timeout: Timeout) -> NtStatus {
    let level = arch::irql();
    if level > irql::APC && timeout != Timeout::Poll {
        verifier::fail("wait_irql", format_args!("blocking wait at IRQL {level}"));
    }
    verifier::locks::check_none_held_below_dispatch();
    for o in objects {
        check(*o);
    }
    let wait = Wait {
        objects: objects.to_vec(),
        all,
        deadline: timeout.deadline(),
    };
    let mut state = STATE.lock();
    let slot = state.current();
    let thread = state.entry(slot).thread.ptr();
    if let Some(result) = try_satisfy(objects, all, thread) {
        return result;
    }
    if timeout == Timeout::Poll {
        return status::TIMEOUT;
    }
    super::timer::note_deadline(wait.deadline);
    state.entry(slot).wait = Some(wait);
    sched::block(state);
    STATE.lock().entry(slot).result
}

/// Waits for one dispatcher object; 0 or `TIMEOUT`. Up to `APC_LEVEL` unless polling.
pub fn single(object: Ptr, timeout: Timeout) -> NtStatus {
    multiple(&[object], false, timeout)
}

/// Blocks the calling thread for `units` of 100 ns.
pub fn sleep(units: u64) {
    multiple(&[], false, Timeout::Relative(units.max(1)));
}

extern "win64" fn ke_wait_for_single_object(
    object: Ptr,
    _reason: u32,
    _mode: u8,
    _alertable: u8,
    timeout: Ptr,
) -> NtStatus {
    single(object, Timeout::from_ptr(timeout))
}

extern "win64" fn ke_wait_for_multiple_objects(
    count: u32,
    objects: Ptr,
    wait_type: u32,
    _reason: u32,
    _mode: u8,
    _alertable: u8,
    timeout: Ptr,
    blocks: Ptr,
) -> NtStatus {
    if count == 0 || count > 64 || count > 3 && blocks.is_null() {
        verifier::fail(
            "bad_argument",
            format_args!("wait for {count} objects, wait blocks {blocks}"),
        );
    }
    let objects: Vec<Ptr> = (0..count as usize).map(|i| objects.ptr(i * 8)).collect();
    multiple(&objects, wait_type == 0, Timeout::from_ptr(timeout))
}

extern "win64" fn ke_delay_execution_thread(_mode: u8, _alertable: u8, interval: Ptr) -> NtStatus {
    match Timeout::from_ptr(interval) {
        // A zero interval gives up the rest of the slice; the thread stays ready.
        Timeout::Poll => sched::yield_now(),
        timeout => {
            multiple(&[], false, timeout);
        }
    }
    status::SUCCESS
}

extern "win64" fn ke_read_state(object: Ptr) -> i32 {
    check(object);
    object.get(4)
}

crate::exports! {
    "KeWaitForSingleObject", D => ke_wait_for_single_object;
    "KeWaitForMultipleObjects", D => ke_wait_for_multiple_objects;
    "KeDelayExecutionThread", A => ke_delay_execution_thread;
    "KeReadStateEvent", ANY => ke_read_state;
    "KeReadStateTimer", ANY => ke_read_state;
    "KeReadStateSemaphore", ANY => ke_read_state;
    "KeReadStateMutex", ANY => ke_read_state;
}
