// SPDX-License-Identifier: BSD-2-Clause
//! Events and semaphores.

use alloc::boxed::Box;

use crate::export::{ANY, D};
use crate::ke::sched::STATE;
use crate::ke::wait::{Timeout, init_header, kind};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::verifier;

/// Initialises the `KEVENT` at `event`.
pub fn init(event: Ptr, synchronization: bool, signaled: bool) {
    let kind = if synchronization {
        kind::SYNCHRONIZATION_EVENT
    } else {
        kind::NOTIFICATION_EVENT
    };
    init_header(event, kind, i32::from(signaled));
}

fn check(event: Ptr) {
    let found: u8 = event.get(0);
    if found > kind::SYNCHRONIZATION_EVENT {
        verifier::fail(
            "not_an_event",
            format_args!("object {event} has type {found:#x}"),
        );
    }
}

/// Signals the `KEVENT`; returns the state before. Up to `DISPATCH_LEVEL`.
pub fn set(event: Ptr) -> i32 {
    check(event);
    let mut state = STATE.lock();
    let old: i32 = event.get(4);
    event.set(4, 1i32);
    state.signalled(event);
    old
}

/// Resets the `KEVENT`; returns the state before. Up to `DISPATCH_LEVEL`.
pub fn reset(event: Ptr) -> i32 {
    check(event);
    let _state = STATE.lock();
    let old: i32 = event.get(4);
    event.set(4, 0i32);
    old
}

/// An event that the kernel itself owns; it may be handed to drivers as long as this lives.
#[derive(Debug)]
pub struct Event(Box<[u64; 3]>);

impl Event {
    /// An auto-reset event when `synchronization`, else a notification event.
    pub fn new(synchronization: bool) -> Self {
        let this = Self(Box::new([0; 3]));
        init(this.ptr(), synchronization, false);
        this
    }

    /// The `KEVENT`.
    pub fn ptr(&self) -> Ptr {
        Ptr(self.0.as_ptr() as usize)
    }

    /// Signals it.
    pub fn set(&self) {
        set(self.ptr());
    }

    /// Waits at `PASSIVE_LEVEL`.
    pub fn wait(&self, timeout: Timeout) -> NtStatus {
        crate::ke::wait::single(self.ptr(), timeout)
    }
}

extern "win64" fn ke_initialize_event(event: Ptr, kind: u32, signaled: u8) {
    init(event, kind != 0, signaled != 0);
}

extern "win64" fn ke_set_event(event: Ptr, _increment: i32, wait: u8) -> i32 {
    if wait != 0 {
        verifier::fail(
            "set_event_wait",
            format_args!("Wait = TRUE is not supported"),
        );
    }
    set(event)
}

extern "win64" fn ke_pulse_event(event: Ptr, _increment: i32, _wait: u8) -> i32 {
    let old = set(event);
    reset(event);
    old
}

extern "win64" fn ke_clear_event(event: Ptr) {
    reset(event);
}

extern "win64" fn ke_reset_event(event: Ptr) -> i32 {
    reset(event)
}

extern "win64" fn ke_initialize_semaphore(semaphore: Ptr, count: i32, limit: i32) {
    init_header(semaphore, kind::SEMAPHORE, count);
    semaphore.set(0x18, limit);
}

extern "win64" fn ke_release_semaphore(
    semaphore: Ptr,
    _increment: i32,
    adjustment: i32,
    _wait: u8,
) -> i32 {
    let mut state = STATE.lock();
    let old: i32 = semaphore.get(4);
    let limit: i32 = semaphore.get(0x18);
    if adjustment <= 0 || old.checked_add(adjustment).is_none_or(|new| new > limit) {
        drop(state);
        // NT raises this status as an exception, which no driver of ours handles.
        verifier::fail(
            "semaphore_limit",
            format_args!(
                "{:#x}: {old} + {adjustment} > {limit}",
                status::SEMAPHORE_LIMIT_EXCEEDED
            ),
        );
    }
    semaphore.set(4, old + adjustment);
    state.signalled(semaphore);
    old
}

crate::exports! {
    "KeInitializeEvent", ANY => ke_initialize_event;
    "KeSetEvent", D => ke_set_event;
    "KePulseEvent", D => ke_pulse_event;
    "KeClearEvent", D => ke_clear_event;
    "KeResetEvent", D => ke_reset_event;
    "KeInitializeSemaphore", ANY => ke_initialize_semaphore;
    "KeReleaseSemaphore", D => ke_release_semaphore;
}
