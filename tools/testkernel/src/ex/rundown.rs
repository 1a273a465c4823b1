// SPDX-License-Identifier: BSD-2-Clause
//! Rundown protection: an 8-byte count of two per holder; bit 0 says that rundown has begun.
//!
//! The one waiter is kept here, by the address of the object.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::export::{A, ANY, D, P};
use crate::ke::event::Event;
use crate::ke::wait::Timeout;
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

static WAITERS: Lock<Vec<(Ptr, Arc<Event>)>> = Lock::new(Vec::new());

const ACTIVE: u64 = 1;
const ONE: u64 = 2;

extern "win64" fn initialize(run: Ptr) {
    run.set(0, 0u64);
}

fn acquire_many(run: Ptr, count: u64) -> u8 {
    let _waiters = WAITERS.lock();
    let value: u64 = run.get(0);
    if value & ACTIVE != 0 {
        return 0;
    }
    run.set(0, value + count * ONE);
    1
}

extern "win64" fn acquire(run: Ptr) -> u8 {
    acquire_many(run, 1)
}

extern "win64" fn acquire_ex(run: Ptr, count: u32) -> u8 {
    acquire_many(run, u64::from(count))
}

fn release_many(run: Ptr, count: u64) {
    let mut waiters = WAITERS.lock();
    let value: u64 = run.get(0);
    if value < count * ONE {
        drop(waiters);
        verifier::fail(
            "rundown_not_held",
            format_args!("rundown {run} is released more often than acquired"),
        );
    }
    let left = value - count * ONE;
    run.set(0, left);
    let waiter = waiters.iter().position(|w| w.0 == run);
    if let Some(i) = waiter.filter(|_| left == ACTIVE) {
        let (_, event) = waiters.swap_remove(i);
        drop(waiters);
        event.set();
    }
}

extern "win64" fn release(run: Ptr) {
    release_many(run, 1);
}

extern "win64" fn release_ex(run: Ptr, count: u32) {
    release_many(run, u64::from(count));
}

extern "win64" fn wait(run: Ptr) {
    let event = {
        let mut waiters = WAITERS.lock();
        let value: u64 = run.get(0);
        run.set(0, value | ACTIVE);
        if value & !ACTIVE == 0 {
            return;
        }
        let event = Arc::new(Event::new(false));
        waiters.push((run, Arc::clone(&event)));
        event
    };
    event.wait(Timeout::Never);
}

extern "win64" fn completed(run: Ptr) {
    run.set(0, ACTIVE);
}

crate::exports! {
    "ExInitializeRundownProtection", ANY => initialize;
    "ExReInitializeRundownProtection", A => initialize;
    "ExAcquireRundownProtection", D => acquire;
    "ExAcquireRundownProtectionEx", D => acquire_ex;
    "ExReleaseRundownProtection", D => release;
    "ExReleaseRundownProtectionEx", D => release_ex;
    "ExWaitForRundownProtectionRelease", A => wait;
    "ExRundownCompleted", P => completed;
}
