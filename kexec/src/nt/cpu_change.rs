// SPDX-License-Identifier: BSD-2-Clause
//! [`CpuChanges`]: a closure that the kernel calls for every processor there is, and for each that is added later.
//!
//! The closure lives in a pool block owned by the handle. Dropping the handle unregisters, after which the closure is not called
//! any more: PASSIVE_LEVEL.
#![expect(unsafe_code, reason = "a callback with a raw context")]

use core::fmt;
use core::ptr::NonNull;

use super::sys::{self, KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, NTSTATUS, PVOID};
use super::{Box, Tag};
use crate::{Passive, Result, Status};

/// What happens to processor `index` (system-wide).
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuChange {
    /// It is about to start: an error from the closure keeps it from starting (or the registration from succeeding).
    Starting(u32),
    /// It runs.
    Started(u32),
    /// It did not start after all: what was prepared is undone.
    Failed(u32),
}

struct Block<F> {
    tag: Tag,
    changed: F,
}

unsafe extern "C" fn changed<F: Fn(Passive, CpuChange) -> Result + Send + Sync>(
    context: PVOID,
    change: *mut KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT,
    status: *mut NTSTATUS,
) {
    // SAFETY: the context is the block, which lives until the callback is unregistered.
    let block = unsafe { &*context.cast::<Block<F>>() };
    // SAFETY: a valid pointer for the call.
    let change = unsafe { &*change };
    let what = match change.State {
        0 => CpuChange::Starting(change.NtNumber),
        1 => CpuChange::Started(change.NtNumber),
        _ => CpuChange::Failed(change.NtNumber),
    };
    let answer = (block.changed)(Passive::assert(), what);
    // Only the answer to the first state is looked at.
    if let (Err(error), CpuChange::Starting(_)) = (answer, what) {
        // SAFETY: a valid pointer for the call.
        unsafe { status.write(error.raw()) };
    }
}

unsafe fn free<F>(block: NonNull<()>) {
    let block = block.cast::<Block<F>>();
    // SAFETY: live until here.
    let tag = unsafe { block.as_ref().tag };
    // SAFETY: made by `register::<F>` with this tag; nobody calls it any more.
    drop(unsafe { Box::from_raw(block, tag) });
}

/// A registered processor callback.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub struct CpuChanges {
    handle: PVOID,
    block: NonNull<()>,
    free: unsafe fn(NonNull<()>),
}

// SAFETY: the registration may be undone by any thread; the closure is `Send + Sync`.
unsafe impl Send for CpuChanges {}
// SAFETY: as above.
unsafe impl Sync for CpuChanges {}

/// KE_PROCESSOR_CHANGE_ADD_EXISTING.
const ADD_EXISTING: u32 = 1;

impl CpuChanges {
    /// Calls `call` for every processor that runs now ([`CpuChange::Starting`], then [`CpuChange::Started`]), before it returns,
    /// and later for each that is added. The closure runs at PASSIVE_LEVEL, one call at a time.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`, also when the closure refused a processor that runs now.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn register<F>(tag: Tag, _level: Passive, call: F) -> Result<Self>
    where
        F: Fn(Passive, CpuChange) -> Result + Send + Sync + 'static,
    {
        let block = Box::try_new(tag, Block { tag, changed: call })?.into_raw();
        // SAFETY: PASSIVE_LEVEL (token); the context suits `changed::<F>` until it is unregistered.
        let handle = unsafe {
            sys::KeRegisterProcessorChangeCallback(
                Some(changed::<F>),
                block.as_ptr().cast(),
                ADD_EXISTING,
            )
        };
        if handle.is_null() {
            // SAFETY: not registered, so nobody uses the block.
            unsafe { free::<F>(block.cast()) };
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        Ok(Self {
            handle,
            block: block.cast(),
            free: free::<F>,
        })
    }
}

impl Drop for CpuChanges {
    fn drop(&mut self) {
        let _level = Passive::assert();
        // SAFETY: registered; PASSIVE_LEVEL; returns when no call is going on.
        unsafe { sys::KeDeregisterProcessorChangeCallback(self.handle) };
        // SAFETY: unregistered, so nobody uses the block.
        unsafe { (self.free)(self.block) };
    }
}

impl fmt::Debug for CpuChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CpuChanges")
    }
}
