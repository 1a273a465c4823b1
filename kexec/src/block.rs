// SPDX-License-Identifier: BSD-2-Clause
//! The blocking edge: [`block_on`] for threads, [`poll_on`] for DISPATCH_LEVEL and for the last processor that runs.
//!
//! `block_on`'s waker leads to a counted pool block, not to the stack: wakers may outlive the call. Above DISPATCH_LEVEL an event
//! cannot be set and pool not freed, so both go through the block's DPC, which holds a reference while it is queued.
#![expect(unsafe_code, reason = "a counted block behind a raw waker")]

use core::future::Future;
use core::pin::pin;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::irql::{self, Raised};
use crate::nt::time::Frozen;
use crate::nt::{Box, EventKind, RawEvent, RawTimerDpc, Tag, sys};
use crate::{Apc, DpcExecutor, DriveError, Duration, Instant, Result, Status};

const TAG: Tag = Tag(*b"KxBl");

struct Parker {
    references: AtomicUsize,
    /// 1 from a wake until the thread has seen it.
    woken: AtomicU32,
    event: RawEvent,
    dpc: RawTimerDpc,
}

unsafe extern "C" fn relay(
    _dpc: *mut sys::KDPC,
    context: sys::PVOID,
    _arg1: sys::PVOID,
    _arg2: sys::PVOID,
) {
    // SAFETY: the queued DPC holds a reference.
    let parker = unsafe { &*context.cast::<Parker>() };
    parker.event.set();
    // SAFETY: the DPC's reference, given back; at DISPATCH_LEVEL freeing is allowed, and the KDPC is not queued any more.
    unsafe { release(context.cast()) };
}

/// # Safety
/// The caller holds a reference.
unsafe fn signal(data: *const ()) {
    // SAFETY: referenced.
    let parker = unsafe { &*data.cast::<Parker>() };
    if parker.woken.swap(1, Ordering::AcqRel) != 0 {
        return;
    }
    if irql::current() <= irql::DISPATCH_LEVEL {
        parker.event.set();
        return;
    }
    parker.references.fetch_add(1, Ordering::Relaxed);
    if !parker.dpc.queue() {
        // Queued already: that one has its own reference, and this caller still holds its own.
        parker.references.fetch_sub(1, Ordering::Release);
    }
}

/// # Safety
/// The caller gives up a reference.
unsafe fn release(data: *const ()) {
    // SAFETY: referenced until the decrement.
    let parker = unsafe { &*data.cast::<Parker>() };
    if irql::current() > irql::DISPATCH_LEVEL {
        // The reference moves to the DPC, which gives it back at DISPATCH_LEVEL; or, when the DPC is queued already, it is counted
        // down here unless it has become the last one meanwhile.
        loop {
            if parker.dpc.queue() {
                return;
            }
            let spare = |count: usize| (count >= 2).then(|| count - 1);
            if parker
                .references
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, spare)
                .is_ok()
            {
                return;
            }
        }
    }
    if parker.references.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: never NULL.
        let block = unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Parker>()) };
        // SAFETY: made by `Box::into_raw` with this tag, and nobody refers to it any more.
        drop(unsafe { Box::from_raw(block, TAG) });
    }
}

unsafe fn waker_clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker holds a reference.
    let parker = unsafe { &*data.cast::<Parker>() };
    parker.references.fetch_add(1, Ordering::Relaxed);
    RawWaker::new(data, &WAKER)
}

unsafe fn waker_wake(data: *const ()) {
    // SAFETY: the waker's reference is held during the call.
    unsafe { signal(data) };
    // SAFETY: and given back here.
    unsafe { release(data) };
}

const WAKER: RawWakerVTable = RawWakerVTable::new(waker_clone, waker_wake, signal, release);

/// Runs `future` to its end in this thread. Never from a task. Fails only when 200 bytes of pool are not to be had.
///
/// # IRQL
/// <= APC_LEVEL.
pub fn block_on<F: Future>(level: impl Into<Apc>, future: F) -> Result<F::Output> {
    let level = level.into();
    let parker = Parker {
        references: AtomicUsize::new(1),
        woken: AtomicU32::new(0),
        event: RawEvent::uninit(),
        dpc: RawTimerDpc::uninit(),
    };
    let block = Box::try_new(TAG, parker)?.into_raw();
    // SAFETY: referenced by the waker made below, dropped at the end.
    let parker = unsafe { block.as_ref() };
    // SAFETY: in pool, so it does not move.
    unsafe { parker.event.init(EventKind::Synchronization) };
    // SAFETY: in pool; the routine's reference keeps it while queued.
    unsafe { parker.dpc.init(relay, block.as_ptr().cast()) };
    let raw = RawWaker::new(block.as_ptr().cast_const().cast(), &WAKER);
    // SAFETY: the table follows the waker contract; this waker owns the first reference.
    let waker = unsafe { Waker::from_raw(raw) };
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        while parker.woken.swap(0, Ordering::AcqRel) == 0 {
            let _ = parker.event.wait(level, None);
        }
    }
}

/// What holds the processor during [`poll_on`].
enum Hold {
    Raised(#[expect(dead_code, reason = "restores the level when dropped")] Raised),
    Frozen(Frozen),
}

/// Polls `future`, driving `executor` and its timers inline, for at most `limit` of interrupt time.
///
/// Below HIGH_LEVEL that is done at DISPATCH_LEVEL. At HIGH_LEVEL the caller says that it is on the only processor that runs, and
/// that the others stopped where they held no lock (in a DPC): interrupts stay off, time comes from the performance counter, and
/// DPCs that are queued meanwhile run after the caller has lowered. The number of rounds is bounded as well, should the counter
/// stand still.
///
/// While another processor runs `executor`, that one drives it: the hypervisor may let it stand still for long in the middle.
///
/// # Errors
/// `IO_TIMEOUT` when time is up, `POSSIBLE_DEADLOCK` from inside a poll of `executor`, `DEVICE_BUSY` at HIGH_LEVEL when another
/// processor stopped inside it, `INVALID_DEVICE_STATE` between DISPATCH_LEVEL and HIGH_LEVEL, where it may have been interrupted.
/// The future is dropped in every case.
///
/// # IRQL
/// <= DISPATCH_LEVEL, or HIGH_LEVEL on the only processor that runs.
pub fn poll_on<F: Future>(executor: &DpcExecutor, limit: Duration, future: F) -> Result<F::Output> {
    let hold = if irql::current() <= irql::DISPATCH_LEVEL {
        Hold::Raised(Raised::to_dispatch())
    } else {
        Hold::Frozen(Frozen::enter()?)
    };
    let deadline = Instant::now() + limit;
    // A round looks at the counter, which takes longer than a unit of time divided by 4.
    let mut rounds = limit.ticks().saturating_mul(4).saturating_add(1_000);
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if let Hold::Frozen(frozen) = &hold {
            frozen.tick();
            rounds -= 1;
        }
        if Instant::now() >= deadline || rounds == 0 {
            return Err(Status::IO_TIMEOUT);
        }
        match executor.drive(256) {
            Ok(driven) if driven.polls != 0 => {}
            Ok(_) => sys::cpu_relax(),
            Err(DriveError::Busy) if matches!(hold, Hold::Raised(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
