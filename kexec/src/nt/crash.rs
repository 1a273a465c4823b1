// SPDX-License-Identifier: BSD-2-Clause
//! [`CrashCallback`]: a last word before the machine stops.
//!
//! The kernel calls it on the processor that crashed, with every other one stopped wherever it was. Locks may be held for ever and
//! structures half changed; it may only read and print.
#![expect(unsafe_code, reason = "a kernel object and its callback")]

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt;
use core::ptr::NonNull;

use super::sys::{self, PVOID};
use super::{Box, Tag};
use crate::{Result, Status};

/// KBUGCHECK_CALLBACK_RECORD: the kernel's alone while it is registered.
#[repr(C)]
struct Record(UnsafeCell<[u64; 8]>);

#[repr(C)]
struct Block<F> {
    record: Record,
    tag: Tag,
    call: F,
}

unsafe extern "C" fn run<F: Fn() + Send + Sync>(buffer: PVOID, _length: u32) {
    // SAFETY: the buffer is the block, which lives until the callback is deregistered.
    let block = unsafe { &*buffer.cast_const().cast::<Block<F>>() };
    (block.call)();
}

unsafe fn free<F>(block: NonNull<()>) {
    let block = block.cast::<Block<F>>();
    // SAFETY: live until here.
    let tag = unsafe { block.as_ref().tag };
    // SAFETY: made by `register::<F>` with this tag; deregistered, so nobody uses it any more.
    drop(unsafe { Box::from_raw(block, tag) });
}

/// A registered bug check callback; removed when dropped.
///
/// # IRQL
/// Made and dropped at <= DISPATCH_LEVEL. The closure runs at HIGH_LEVEL.
pub struct CrashCallback {
    /// Starts with the record.
    block: NonNull<()>,
    free: unsafe fn(NonNull<()>),
}

// SAFETY: the closure is `Send + Sync`; the record is the kernel's.
unsafe impl Send for CrashCallback {}
// SAFETY: as above.
unsafe impl Sync for CrashCallback {}

impl CrashCallback {
    /// Registers `call` under a component's name.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`; `UNSUCCESSFUL` when the kernel does not take it.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn register<F: Fn() + Send + Sync + 'static>(
        tag: Tag,
        component: &'static CStr,
        call: F,
    ) -> Result<Self> {
        let block = Block {
            record: Record(UnsafeCell::new([0; 8])),
            tag,
            call,
        };
        let block = Box::try_new(tag, block)?.into_raw();
        let this = Self {
            block: block.cast(),
            free: free::<F>,
        };
        // SAFETY: a zeroed record in pool at the block's start; block and component stay until it is deregistered.
        let taken = unsafe {
            sys::KeRegisterBugCheckCallback(
                block.as_ptr().cast(),
                Some(run::<F>),
                block.as_ptr().cast(),
                size_of::<Block<F>>() as u32,
                component.as_ptr().cast_mut().cast(),
            )
        };
        if taken == 0 {
            let this = core::mem::ManuallyDrop::new(this);
            // SAFETY: not registered, so the block is ours.
            unsafe { (this.free)(this.block) };
            return Err(Status::UNSUCCESSFUL);
        }
        Ok(this)
    }
}

impl Drop for CrashCallback {
    fn drop(&mut self) {
        // SAFETY: registered; after this the kernel does not know the record any more.
        unsafe { sys::KeDeregisterBugCheckCallback(self.block.as_ptr().cast()) };
        // SAFETY: as above.
        unsafe { (self.free)(self.block) };
    }
}

impl fmt::Debug for CrashCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashCallback")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irql;
    use crate::nt::sys::fake;
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::sync::Arc;

    const TAG: Tag = Tag(*b"Cras");

    #[test]
    fn the_callback_runs_at_high_level_until_it_is_dropped() {
        let session = fake::boot();
        let calls = Arc::new(AtomicU32::new(0));
        let seen = calls.clone();
        let callback = CrashCallback::register(TAG, c"test", move || {
            assert_eq!(irql::current(), irql::HIGH_LEVEL);
            seen.fetch_add(1, Ordering::Relaxed);
        })
        .expect("taken");
        session.crash();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(!session.leaks().is_empty());
        drop(callback);
        session.crash();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn without_memory_nothing_is_registered() {
        let session = fake::boot();
        session.fail_alloc(Some(0));
        let refused = CrashCallback::register(TAG, c"test", || {});
        assert_eq!(refused.err(), Some(Status::INSUFFICIENT_RESOURCES));
        session.fail_alloc(None);
        session.crash();
    }
}
