// SPDX-License-Identifier: BSD-2-Clause
//! [`Header`]: the state of one task, and the waker that leads to it.
//!
//! ```text
//!  state word = flags | references << 8
//!
//!                      wake, abort (2)
//!            ┌──────────────────────────────┐
//!            │                              ▼
//!  spawn (1) │   PARKED ◀──── Pending ── POLLED ◀── clear SCHEDULED (3) ── SCHEDULED
//!  ──────────┼──────────────────────────────┼──────────────────────────▶     ▲
//!            └──────────────────────────────┼────────────────────────────────┘
//!                                   Ready, or CANCELLED found (4)
//!                                           ▼
//!                                       COMPLETE ── last reference dropped (5) ──▶ queued to be freed ── (6) ──▶ freed
//! ```
//!
//! 1. `Core::spawn`: SCHEDULED | JOIN, two references: the executor's and the join handle's.
//! 2. [`Header::schedule`]: one read-modify-write sets SCHEDULED; whoever set it pushes, nobody else. After COMPLETE nobody pushes.
//! 3. `Core::step`, by the runner before each poll. No second runner exists (`RunQueue`), so no second poll either.
//! 4. `Core::complete`: the future is dropped first, then COMPLETE is set, then the joiner is woken. The executor's reference
//!    goes with COMPLETE, or, when SCHEDULED was set meanwhile, when the task is popped.
//! 5. [`Header::release`]: at any IRQL. The block is only queued.
//! 6. `Core::step` by the runner finds no references and frees the block.
#![expect(unsafe_code, reason = "reference-counted blocks behind raw wakers")]

use core::ptr::NonNull;
use core::task::{Context, RawWaker, RawWakerVTable, Waker};

use super::{Group, TaskInfo};
use crate::atomic::{AtomicPtr, AtomicU32, AtomicWaker, Ordering};
use crate::exec::CoreHead;

/// In the run queue, or about to be pushed by whoever set it.
pub(crate) const SCHEDULED: u32 = 1;
/// The future is gone.
pub(crate) const COMPLETE: u32 = 2;
/// The future is to be dropped instead of polled.
pub(crate) const CANCELLED: u32 = 4;
/// A join handle exists.
pub(crate) const JOIN: u32 = 8;
/// The output is in the block.
pub(crate) const OUTPUT: u32 = 16;
/// A waker was put into `join`.
pub(crate) const JOINER: u32 = 32;
/// One reference.
pub(crate) const REF: u32 = 0x100;

/// What differs between tasks: one static table per spawn site and future type.
pub(crate) struct VTable {
    /// Polls; true when ready, the future dropped and the output written.
    pub(crate) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    pub(crate) drop_future: unsafe fn(NonNull<Header>),
    pub(crate) drop_output: unsafe fn(NonNull<Header>),
    pub(crate) output: unsafe fn(NonNull<Header>) -> *mut (),
    /// Size of the block as allocated.
    pub(crate) size: usize,
    pub(crate) info: &'static TaskInfo,
}

/// The fixed part of a task. Aligned to a 64-byte line by the allocation: the first line is all that wake and poll touch.
#[repr(C)]
pub struct Header {
    /// Flags and references.
    pub(crate) state: AtomicU32,
    /// Number of polls; written by the runner alone.
    pub(crate) polls: AtomicU32,
    /// Next task in the run queue.
    pub(crate) next: AtomicPtr<Header>,
    pub(crate) core: *const CoreHead,
    pub(crate) vtable: &'static VTable,
    /// List of live tasks; the runner's alone, relaxed atomics so that a debugger callback may look.
    pub(crate) list_next: AtomicPtr<Header>,
    pub(crate) list_prev: AtomicPtr<Header>,
    /// NULL, or a counted reference to the group.
    pub(crate) group: *const Group,
    /// First wakes that scheduled the task (feature `trace`).
    pub(crate) wakes: AtomicU32,
    /// Bytes from the allocation to this header; `u16::MAX` in storage of the caller.
    pub(crate) offset: u16,
    pub(crate) linked: core::cell::Cell<bool>,
    pub(crate) join: AtomicWaker,
}

#[cfg(not(any(loom, shuttle)))]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() <= 96);
    assert!(offset_of!(Header, join) <= 64);
};

/// Size of the fixed part of a task in bytes.
pub const HEADER_SIZE: usize = size_of::<Header>();

/// Where a memory image finds things in a task's header, in bytes.
///
/// # IRQL
/// Any.
pub mod layout {
    use core::mem::offset_of;

    use super::{Header, VTable};

    /// State word, u32.
    pub const STATE: usize = offset_of!(Header, state);
    /// Polls, u32.
    pub const POLLS: usize = offset_of!(Header, polls);
    /// Pointer to the table that holds the `TaskInfo` pointer.
    pub const VTABLE: usize = offset_of!(Header, vtable);
    /// Pointer to the `TaskInfo`, in that table.
    pub const VTABLE_INFO: usize = offset_of!(VTable, info);
    /// Next live task.
    pub const LIST_NEXT: usize = offset_of!(Header, list_next);
    /// Wakes, u32 (feature `trace`).
    pub const WAKES: usize = offset_of!(Header, wakes);
}

impl Header {
    /// Transition 2: makes the runner see the task. One read-modify-write when it is scheduled already, two otherwise.
    ///
    /// # IRQL
    /// Any.
    ///
    /// # Safety
    /// The caller holds a reference for the whole call: the executor stays while one of its blocks does.
    pub(crate) unsafe fn schedule(task: NonNull<Self>, more: u32) {
        // SAFETY: alive by contract.
        let header = unsafe { task.as_ref() };
        // AcqRel: what the waker wrote happens before the poll that clears the flag, also when the flag was set already.
        let before = header.state.fetch_or(SCHEDULED | more, Ordering::AcqRel);
        if before & (SCHEDULED | COMPLETE) != 0 {
            return;
        }
        crate::probe!(Wake);
        #[cfg(feature = "trace")]
        {
            // This call alone may push; the next one to get here comes after the poll that clears SCHEDULED. No read-modify-write.
            let wakes = header.wakes.load(Ordering::Relaxed);
            header.wakes.store(wakes.wrapping_add(1), Ordering::Relaxed);
        }
        // SAFETY: the executor lives while this block does.
        let core = unsafe { &*header.core };
        // SAFETY: this call set SCHEDULED, so it alone may push; the executor's reference keeps the task until it is popped.
        unsafe { core.push(task) };
    }

    /// Transition 5: gives back a reference, from anywhere but the runner's own bookkeeping.
    ///
    /// # IRQL
    /// Any.
    ///
    /// # Safety
    /// The caller owns the reference and does not use it again.
    pub(crate) unsafe fn release(task: NonNull<Self>) {
        // SAFETY: alive: the reference is counted until the next line.
        let header = unsafe { task.as_ref() };
        let before = header
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state >= 2 * REF).then(|| state - REF)
            });
        let Err(state) = before else {
            return;
        };
        debug_assert!(state >= REF, "reference given back twice");
        // Ours is the last, so nobody else looks at the word: the executor gave back its own with COMPLETE.
        header.state.store(state - REF, Ordering::Relaxed);
        // SAFETY: the block is not published yet, so it is there and keeps the executor.
        let core = unsafe { &*header.core };
        // SAFETY: no references are left: this is the one place that queues the block to be freed.
        unsafe { core.push_unowned(task) };
    }

    /// A waker's new reference.
    fn retain(&self) {
        let before = self.state.fetch_add(REF, Ordering::Relaxed);
        assert!(
            before < u32::MAX - REF * 16,
            "too many references to one task"
        );
    }
}

const WAKER: RawWakerVTable =
    RawWakerVTable::new(waker_clone, waker_wake, waker_wake_by_ref, waker_drop);

/// # Safety
/// `data` is a task on which the waker holds a reference.
unsafe fn waker_clone(data: *const ()) -> RawWaker {
    // SAFETY: a live header by contract.
    let header = unsafe { &*data.cast::<Header>() };
    header.retain();
    RawWaker::new(data, &WAKER)
}

/// # Safety
/// As [`waker_clone`]; the reference is consumed.
unsafe fn waker_wake(data: *const ()) {
    // SAFETY: the waker's reference is held during the call.
    unsafe { waker_wake_by_ref(data) };
    // SAFETY: and given back here.
    unsafe { waker_drop(data) };
}

/// # Safety
/// As [`waker_clone`].
unsafe fn waker_wake_by_ref(data: *const ()) {
    // SAFETY: never NULL.
    let task = unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Header>()) };
    // SAFETY: the waker holds a reference.
    unsafe { Header::schedule(task, 0) };
}

/// # Safety
/// As [`waker_clone`]; the reference is consumed.
unsafe fn waker_drop(data: *const ()) {
    // SAFETY: never NULL.
    let task = unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Header>()) };
    // SAFETY: the waker's reference, not used again.
    unsafe { Header::release(task) };
}

/// A waker of `task` that borrows the runner's reference: never dropped.
///
/// # Safety
/// The executor's reference on `task` outlives the value.
pub(crate) unsafe fn borrowed_waker(task: NonNull<Header>) -> core::mem::ManuallyDrop<Waker> {
    let raw = RawWaker::new(task.as_ptr().cast_const().cast(), &WAKER);
    // SAFETY: the table follows the waker contract; clones count their own references.
    core::mem::ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}
