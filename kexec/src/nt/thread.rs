// SPDX-License-Identifier: BSD-2-Clause
//! [`Thread`] and [`WorkItem`]: code at PASSIVE_LEVEL.
//!
//! A thread is referenced from its start and joined before its handle is gone, so an image is never unloaded under it. A work
//! item belongs to a device object, which the I/O manager references while it runs.
#![expect(unsafe_code, reason = "kernel objects and their callbacks")]

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use super::event::wait_object;
use super::sys::{self, PVOID};
use super::{Box, Rundown, Tag, Vec};
use crate::{Passive, Result, Status};

struct Start<F> {
    tag: Tag,
    call: F,
}

unsafe extern "C" fn start<F: FnOnce(Passive) + Send>(context: PVOID) {
    let Some(block) = NonNull::new(context.cast::<Start<F>>()) else {
        return;
    };
    // SAFETY: the creator gave this block up to the thread.
    let tag = unsafe { block.as_ref().tag };
    // SAFETY: as above; the tag is the block's own.
    let block = unsafe { Box::from_raw(block, tag) };
    (block.into_inner().call)(Passive::assert());
}

/// A system thread; joined by [`Self::join`] or drop.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub struct Thread {
    object: PVOID,
}

// SAFETY: a referenced thread object may be waited for and dereferenced from anywhere.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

impl Thread {
    /// Starts a thread that runs `call`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn spawn(
        tag: Tag,
        _level: Passive,
        call: impl FnOnce(Passive) + Send + 'static,
    ) -> Result<Self> {
        fn routine<F: FnOnce(Passive) + Send>(_: &F) -> sys::PKSTART_ROUTINE {
            start::<F>
        }
        let routine = routine(&call);
        let block = Box::try_new(tag, Start { tag, call })?;
        let mut handle = core::ptr::null_mut();
        let none = core::ptr::null_mut();
        let context = block.into_raw();
        // SYNCHRONIZE and everything else: kernel handle in the system process.
        let mut attributes = super::registry::attributes(None, none, core::ptr::null_mut());
        // SAFETY: PASSIVE_LEVEL (token); the context is a block for `routine`.
        let status = unsafe {
            sys::PsCreateSystemThread(
                &mut handle,
                0x1F_FFFF,
                &mut attributes,
                none,
                none,
                Some(routine),
                context.as_ptr().cast(),
            )
        };
        if let Err(status) = Status::check(status) {
            // SAFETY: no thread was made, so the block is still ours.
            drop(unsafe { Box::from_raw(context, tag) });
            return Err(status);
        }
        let mut object = none;
        // SAFETY: the handle of a thread just made.
        let referenced = unsafe {
            sys::ObReferenceObjectByHandle(
                handle,
                0x0010_0000,
                sys::thread_object_type(),
                0,
                &mut object,
                none,
            )
        };
        // A thread that cannot be referenced could not be joined; with a valid handle this does not fail.
        assert!(referenced >= 0, "thread object cannot be referenced");
        // SAFETY: our handle, not used again.
        unsafe { sys::ZwClose(handle) };
        Ok(Self { object })
    }

    /// Waits until the thread has ended.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn join(self, _level: Passive) {
        drop(self);
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let _level = Passive::assert();
        // SAFETY: referenced, so alive; PASSIVE_LEVEL.
        let _ = unsafe { wait_object(self.object, None) };
        // SAFETY: our reference, not used again.
        unsafe { sys::ObfDereferenceObject(self.object) };
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thread")
    }
}

/// IO_WORKITEM storage and what to call; at a fixed address once initialised.
pub(crate) struct RawWorkItem {
    /// IoSizeofWorkItem bytes.
    storage: UnsafeCell<Vec<u64>>,
    queued: AtomicBool,
    running: Rundown,
    call: unsafe fn(PVOID),
    context: UnsafeCell<PVOID>,
}

// SAFETY: kernel object storage touched by the kernel only; the rest is atomic or written before first use.
unsafe impl Send for RawWorkItem {}
// SAFETY: as above.
unsafe impl Sync for RawWorkItem {}

unsafe extern "C" fn work(_device: *mut sys::DEVICE_OBJECT, context: PVOID) {
    // SAFETY: the item lives until `stop` has waited for the reference that `queue` took.
    let item = unsafe { &*context.cast::<RawWorkItem>() };
    item.queued.store(false, Ordering::SeqCst);
    // SAFETY: written by `init` before anything was queued.
    let context = unsafe { *item.context.get() };
    // SAFETY: the pair was given together to `try_new` and `init`.
    unsafe { (item.call)(context) };
    item.running.release_raw();
}

impl RawWorkItem {
    pub(crate) fn try_new(tag: Tag, call: unsafe fn(PVOID)) -> Result<Self> {
        // SAFETY: no preconditions.
        let size = unsafe { sys::IoSizeofWorkItem() } as usize;
        let mut storage = Vec::new(tag);
        storage.try_resize(size.div_ceil(8), 0)?;
        let context = UnsafeCell::new(core::ptr::null_mut());
        Ok(Self {
            storage: UnsafeCell::new(storage),
            queued: AtomicBool::new(false),
            running: Rundown::new(),
            call,
            context,
        })
    }

    fn item(&self) -> PVOID {
        // SAFETY: the vector itself does not change after `try_new`.
        unsafe { (*self.storage.get()).as_mut_ptr().cast() }
    }

    /// # Safety
    /// `self` does not move from here on; `context` suits `call` until `stop` has returned; the device is live until then.
    pub(crate) unsafe fn init(&self, device: PVOID, context: PVOID) {
        // SAFETY: nobody uses the item yet.
        unsafe { *self.context.get() = context };
        // SAFETY: storage of the size that the kernel asked for.
        unsafe { sys::IoInitializeWorkItem(device, self.item()) };
    }

    /// Queues it; false when it was queued already or is being stopped.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub(crate) fn queue(&self) -> bool {
        if self.queued.swap(true, Ordering::SeqCst) {
            return false;
        }
        if !self.running.acquire_raw() {
            return false;
        }
        let context = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: initialised and not queued (flag); 1 is DelayedWorkQueue.
        unsafe { sys::IoQueueWorkItem(self.item(), Some(work), 1, context) };
        true
    }

    /// Refuses further queuing and waits until no run is pending or going on. Once.
    pub(crate) fn stop(&self, level: Passive) {
        self.running.wait(level);
        // SAFETY: initialised, and not queued any more.
        unsafe { sys::IoUninitializeWorkItem(self.item()) };
    }
}

#[repr(C)]
struct ItemBlock<F> {
    raw: RawWorkItem,
    call: F,
}

unsafe fn call<F: Fn(Passive) + Send + Sync>(context: PVOID) {
    // SAFETY: the context is the block, which lives until `stop` has returned.
    let block = unsafe { &*context.cast::<ItemBlock<F>>() };
    (block.call)(Passive::assert());
}

unsafe fn free<F>(block: NonNull<RawWorkItem>, tag: Tag) {
    // SAFETY: made by `WorkItem::try_new` with this `F` and tag.
    drop(unsafe { Box::from_raw(block.cast::<ItemBlock<F>>(), tag) });
}

/// A work item with its closure: queued from <= DISPATCH_LEVEL, run at PASSIVE_LEVEL. Dropping it waits for a run in progress.
///
/// # IRQL
/// Queue: <= DISPATCH_LEVEL. Making and dropping: PASSIVE_LEVEL.
pub struct WorkItem {
    block: NonNull<RawWorkItem>,
    free: unsafe fn(NonNull<RawWorkItem>, Tag),
    tag: Tag,
}

// SAFETY: owns an `ItemBlock<F>` with `F: Send + Sync`.
unsafe impl Send for WorkItem {}
// SAFETY: as above.
unsafe impl Sync for WorkItem {}

impl WorkItem {
    /// A work item of `device` that runs `run`.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn try_new<F: Fn(Passive) + Send + Sync + 'static>(
        tag: Tag,
        device: &super::DeviceRef,
        run: F,
    ) -> Result<Self> {
        let raw = RawWorkItem::try_new(tag, call::<F>)?;
        let block = Box::try_new(tag, ItemBlock { raw, call: run })?.into_raw();
        // SAFETY: just made, live until this value is dropped.
        let raw = unsafe { &block.as_ref().raw };
        // SAFETY: in pool, so it does not move; the context is the block that `call::<F>` expects.
        unsafe { raw.init(device.as_ptr().as_raw().cast(), block.as_ptr().cast()) };
        Ok(Self {
            block: block.cast(),
            free: free::<F>,
            tag,
        })
    }

    /// Queues it; false when it was queued already.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn queue(&self) -> bool {
        // SAFETY: live until drop.
        unsafe { self.block.as_ref() }.queue()
    }
}

impl Drop for WorkItem {
    fn drop(&mut self) {
        // SAFETY: live until the end of this function.
        unsafe { self.block.as_ref() }.stop(Passive::assert());
        // SAFETY: stopped: nobody uses the block any more.
        unsafe { (self.free)(self.block, self.tag) };
    }
}

impl fmt::Debug for WorkItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkItem")
    }
}
