// SPDX-License-Identifier: BSD-2-Clause
//! [`Dpc`] and [`Timer`]: a closure that runs at DISPATCH_LEVEL when queued, or when time has come.
//!
//! The KDPC (and KTIMER) and the closure share one pool block, owned by the handle. Dropping the handle cancels, waits for every
//! processor to leave DPC level (KeFlushQueuedDpcs) and frees: PASSIVE_LEVEL only.
#![expect(
    unsafe_code,
    reason = "kernel objects at fixed addresses and their callbacks"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

use super::sys::{self, KDPC, KTIMER, PVOID};
use super::{Box, Tag};
use crate::{Duration, Passive, Result, Status};

/// KDPC and KTIMER in place, before any closure; must not move once initialised.
#[repr(C)]
pub(crate) struct RawTimerDpc {
    dpc: UnsafeCell<KDPC>,
    timer: UnsafeCell<KTIMER>,
}

// SAFETY: kernel objects, used from any processor; the kernel synchronises access.
unsafe impl Send for RawTimerDpc {}
// SAFETY: as above.
unsafe impl Sync for RawTimerDpc {}

impl RawTimerDpc {
    pub(crate) const fn uninit() -> Self {
        // SAFETY: all-zero is a valid bit pattern of a KDPC.
        let dpc = unsafe { core::mem::zeroed() };
        // SAFETY: all-zero is a valid bit pattern of a KTIMER.
        let timer = unsafe { core::mem::zeroed() };
        Self {
            dpc: UnsafeCell::new(dpc),
            timer: UnsafeCell::new(timer),
        }
    }

    /// # Safety
    /// The value does not move from here on, nobody uses it yet, and `context` suits `routine` until it is stopped.
    pub(crate) unsafe fn init(&self, routine: sys::PKDEFERRED_ROUTINE, context: PVOID) {
        // SAFETY: storage at its final address.
        unsafe { sys::KeInitializeDpc(self.dpc.get(), Some(routine), context) };
        // SAFETY: storage at its final address; a notification timer.
        unsafe { sys::KeInitializeTimerEx(self.timer.get(), 0) };
    }

    /// Runs the routine on processor `cpu` from now on.
    pub(crate) fn target(&self, cpu: u32) -> Result {
        let mut number = sys::PROCESSOR_NUMBER::default();
        // SAFETY: a valid pointer.
        Status::check(unsafe { sys::KeGetProcessorNumberFromIndex(cpu, &mut number) })?;
        // SAFETY: initialised, not queued yet.
        Status::check(unsafe { sys::KeSetTargetProcessorDpcEx(self.dpc.get(), &mut number) })
    }

    /// High importance: at the front of the queue, and targeted ones are not delayed.
    pub(crate) fn urgent(&self) {
        // SAFETY: initialised.
        unsafe { sys::KeSetImportanceDpc(self.dpc.get(), 2) };
    }

    /// # IRQL
    /// Any.
    pub(crate) fn queue(&self) -> bool {
        let none = core::ptr::null_mut();
        // SAFETY: initialised.
        unsafe { sys::KeInsertQueueDpc(self.dpc.get(), none, none) != 0 }
    }

    pub(crate) fn unqueue(&self) -> bool {
        // SAFETY: initialised.
        unsafe { sys::KeRemoveQueueDpc(self.dpc.get()) != 0 }
    }

    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub(crate) fn set(&self, due: Duration, period_ms: u32) -> bool {
        let relative = -(due.ticks().max(1).cast_signed());
        // SAFETY: both initialised and at fixed addresses.
        unsafe {
            sys::KeSetTimerEx(
                self.timer.get(),
                relative,
                period_ms.cast_signed(),
                self.dpc.get(),
            ) != 0
        }
    }

    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: initialised.
        unsafe { sys::KeCancelTimer(self.timer.get()) != 0 }
    }

    /// Cancels, unqueues and waits until no processor runs the routine.
    pub(crate) fn stop(&self, _level: Passive) {
        self.cancel();
        self.unqueue();
        // SAFETY: PASSIVE_LEVEL (token).
        unsafe { sys::KeFlushQueuedDpcs() };
        // The routine may have set the timer or queued itself again while it was being cancelled.
        self.cancel();
        if self.unqueue() {
            // SAFETY: as above.
            unsafe { sys::KeFlushQueuedDpcs() };
        }
    }
}

#[repr(C)]
struct Block<F> {
    raw: RawTimerDpc,
    call: F,
}

unsafe extern "C" fn run<F: Fn() + Send + Sync>(
    _dpc: *mut KDPC,
    context: PVOID,
    _arg1: PVOID,
    _arg2: PVOID,
) {
    crate::probe!(Dpc);
    // SAFETY: the context is the block, which lives until `stop` has returned.
    let block = unsafe { &*context.cast::<Block<F>>() };
    (block.call)();
}

unsafe fn free<F>(block: NonNull<RawTimerDpc>, tag: Tag) {
    // SAFETY: made by `Erased::try_new::<F>` with this tag; nobody uses it any more.
    drop(unsafe { Box::from_raw(block.cast::<Block<F>>(), tag) });
}

/// A `Box<Block<F>>` without its `F`.
struct Erased {
    block: NonNull<RawTimerDpc>,
    free: unsafe fn(NonNull<RawTimerDpc>, Tag),
    tag: Tag,
}

// SAFETY: owns a `Block<F>` with `F: Send + Sync` behind kernel objects.
unsafe impl Send for Erased {}
// SAFETY: as above.
unsafe impl Sync for Erased {}

impl Erased {
    fn try_new<F: Fn() + Send + Sync + 'static>(tag: Tag, call: F) -> Result<Self> {
        let block = Box::try_new(
            tag,
            Block {
                raw: RawTimerDpc::uninit(),
                call,
            },
        )?
        .into_raw();
        // SAFETY: just made, live until this value is dropped.
        let raw = unsafe { &block.as_ref().raw };
        // SAFETY: in pool, so it does not move; the context is the block that `run::<F>` expects.
        unsafe { raw.init(run::<F>, block.as_ptr().cast()) };
        Ok(Self {
            block: block.cast(),
            free: free::<F>,
            tag,
        })
    }

    fn raw(&self) -> &RawTimerDpc {
        // SAFETY: live until drop.
        unsafe { self.block.as_ref() }
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        self.raw().stop(Passive::assert());
        // SAFETY: stopped: nobody uses the block any more.
        unsafe { (self.free)(self.block, self.tag) };
    }
}

/// A deferred procedure call with its closure.
///
/// # IRQL
/// Queue and cancel: any. Making: <= DISPATCH_LEVEL. Dropping: PASSIVE_LEVEL.
pub struct Dpc(Erased);

impl Dpc {
    /// A DPC that runs `call` at DISPATCH_LEVEL, on processor `cpu` when given.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(
        tag: Tag,
        cpu: Option<u32>,
        call: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let erased = Erased::try_new(tag, call)?;
        if let Some(cpu) = cpu {
            erased.raw().target(cpu)?;
        }
        Ok(Self(erased))
    }

    /// Puts it at the front of the queue from now on, and interrupts its processor without delay.
    ///
    /// # IRQL
    /// Any.
    pub fn urgent(&self) {
        self.0.raw().urgent();
    }

    /// Queues it; false when it was queued already.
    ///
    /// # IRQL
    /// Any.
    pub fn queue(&self) -> bool {
        self.0.raw().queue()
    }

    /// Takes it out of the queue; false when it was not there. Does not wait for a run in progress.
    ///
    /// # IRQL
    /// Any.
    pub fn cancel(&self) -> bool {
        self.0.raw().unqueue()
    }
}

impl fmt::Debug for Dpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dpc")
    }
}

/// A timer with the closure that its DPC runs.
///
/// # IRQL
/// Set and cancel: <= DISPATCH_LEVEL. Dropping: PASSIVE_LEVEL.
pub struct Timer(Erased);

impl Timer {
    /// A timer, not set, that runs `call` at DISPATCH_LEVEL.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, call: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        Erased::try_new(tag, call).map(Self)
    }

    /// Runs the closure once after `due`; replaces what was set.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set(&self, due: Duration) {
        self.0.raw().set(due, 0);
    }

    /// Runs the closure after `due` and then every `period_ms` milliseconds.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set_periodic(&self, due: Duration, period_ms: u32) {
        self.0.raw().set(due, period_ms);
    }

    /// Unsets it; false when it was not set. Does not wait for a run in progress.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn cancel(&self) -> bool {
        self.0.raw().cancel()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nt::Timer")
    }
}
