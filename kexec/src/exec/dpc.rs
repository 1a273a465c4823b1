// SPDX-License-Identifier: BSD-2-Clause
//! [`DpcExecutor`]: tasks at DISPATCH_LEVEL, pended by an embedded DPC.
//!
//! Owned by an `Arc`; its tasks' owners hold clones, and [`DpcExecutor::stop`] breaks the cycle. Its tasks never call code of
//! other drivers, so that an inline drive may run them anywhere at DISPATCH_LEVEL.
#![expect(unsafe_code, reason = "embeds kernel objects at a fixed address")]

use core::alloc::Layout;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::support;
use super::{Budget, DriveError, Driven, Executor};
use crate::irql::Raised;
use crate::nt::{Arc, RawTimerDpc, Tag, sys};
use crate::task::Group;
use crate::{Passive, Platform, Result};

/// The platform of [`DpcExecutor`].
///
/// # IRQL
/// As the trait says.
pub struct DpcPlatform {
    dpc: RawTimerDpc,
    tag: Tag,
}

// SAFETY: pool blocks are 16-byte aligned and stay; `pend` only inserts a DPC that runs the core; runners are processors, of which
// each runs one thing at DISPATCH_LEVEL.
unsafe impl Platform for DpcPlatform {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        crate::nt::allocate(self.tag, layout).ok()
    }
    unsafe fn free(&self, block: NonNull<u8>, _layout: Layout) {
        // SAFETY: by contract from `allocate` above.
        unsafe { crate::nt::release(self.tag, block) };
    }
    fn pend(&self) {
        self.dpc.queue();
    }
    fn runner(&self) -> usize {
        sys::runner_at_dispatch()
    }
    fn micros(&self) -> u64 {
        support::micros()
    }
    fn relax(&self) {
        sys::cpu_relax();
    }
}

/// An executor at DISPATCH_LEVEL.
///
/// # IRQL
/// Spawn, drive: <= DISPATCH_LEVEL. Waking its tasks: any. Making, stopping: PASSIVE_LEVEL.
pub struct DpcExecutor {
    inner: Executor<DpcPlatform>,
}

unsafe extern "C" fn activate(
    _dpc: *mut sys::KDPC,
    context: sys::PVOID,
    _arg1: sys::PVOID,
    _arg2: sys::PVOID,
) {
    crate::probe!(Dpc);
    // SAFETY: the context is a live executor until `stop` has flushed this DPC.
    let executor = unsafe { &*context.cast::<DpcExecutor>() };
    let _ = executor.core.run(Budget::DPC);
}

impl DpcExecutor {
    /// An executor whose DPC runs on processor `cpu`, or on whichever processor pends it.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, cpu: Option<u32>) -> Result<Arc<Self>> {
        let platform = DpcPlatform {
            dpc: RawTimerDpc::uninit(),
            tag,
        };
        let executor = Self {
            inner: Executor::new(platform, tag),
        };
        let executor = Arc::try_new(tag, executor)?;
        let context = core::ptr::from_ref::<Self>(&executor).cast_mut().cast();
        // SAFETY: in pool, so it does not move; the context is what `activate` expects and lives until `stop`.
        unsafe { executor.core.platform().dpc.init(activate, context) };
        if let Some(cpu) = cpu {
            executor.core.platform().dpc.target(cpu)?;
            executor.core.platform().dpc.urgent();
        }
        // SAFETY: in pool; `stop` comes before the drop (asserted there).
        unsafe { executor.timers.init() };
        executor.stopped.store(false, Ordering::Release);
        Ok(executor)
    }

    /// Runs ready tasks and due timers on the caller at DISPATCH_LEVEL, at most `limit` polls.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn drive(&self, limit: usize) -> core::result::Result<Driven, DriveError> {
        let _raised = Raised::to_dispatch();
        self.timers.expire();
        self.core.drive(limit)
    }

    /// Calls `f` at DISPATCH_LEVEL and runs there what it makes ready, at most `limit` polls: a caller that would wait for the DPC
    /// saves it. While the executor runs, here or on another processor, that run does it.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn run_with<T>(&self, limit: usize, f: impl FnOnce() -> T) -> T {
        let _raised = Raised::to_dispatch();
        self.core.run_with(Budget::polls(limit), f)
    }

    /// Cancels `group` and drives until none of its futures is alive, at most `limit` polls.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn drain_group(&self, group: &Group, limit: usize) -> core::result::Result<(), DriveError> {
        group.cancel();
        let mut left = limit;
        while group.count() != 0 {
            let driven = self.drive(left.min(64))?;
            left = left.saturating_sub(driven.polls.max(1));
            if left == 0 {
                return Err(DriveError::Busy);
            }
        }
        Ok(())
    }

    /// Refuses new tasks, cancels and drains all there are, waits until no waker or handle is left, flushes timer and DPC.
    ///
    /// A reference that does not go within the bound is a leak: a bug check after one log line per task.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn stop(&self, level: Passive) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.core.close();
        support::drain(level, &self.core, || {
            let _ = self.drive(usize::MAX);
        });
        self.timers.stop(level);
        self.core.platform().dpc.stop(level);
    }
}

impl Deref for DpcExecutor {
    type Target = Executor<DpcPlatform>;
    fn deref(&self) -> &Executor<DpcPlatform> {
        &self.inner
    }
}

impl Drop for DpcExecutor {
    fn drop(&mut self) {
        let stopped = self.stopped.load(Ordering::Acquire);
        assert!(
            stopped || sys::unwinding(),
            "DpcExecutor dropped without stop"
        );
    }
}

impl fmt::Debug for DpcExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DpcExecutor({} blocks)", self.core.blocks())
    }
}
