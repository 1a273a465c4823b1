// SPDX-License-Identifier: BSD-2-Clause
//! [`PassiveExecutor`]: tasks at PASSIVE_LEVEL, run by an embedded work item or by one joined system thread.
//!
//! Above DISPATCH_LEVEL only a DPC can be queued, so a pend from there goes through an embedded one. Tasks of the work-item form
//! never block; work that blocks gets its own thread. The executor stops by [`PassiveExecutor::stop`].
#![expect(unsafe_code, reason = "embeds kernel objects at a fixed address")]

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use super::support;
use super::{Budget, Executor, Outcome};
use crate::irql;
use crate::nt::{Arc, DeviceRef, EventKind, RawEvent, RawTimerDpc, RawWorkItem, Tag, Thread, sys};
use crate::{Passive, Platform, Result};

enum Host {
    WorkItem(RawWorkItem),
    Thread { wanted: RawEvent, end: AtomicBool },
}

/// The platform of [`PassiveExecutor`].
///
/// # IRQL
/// As the trait says.
pub struct PassivePlatform {
    host: Host,
    /// For pends above DISPATCH_LEVEL.
    dpc: RawTimerDpc,
    tag: Tag,
}

impl PassivePlatform {
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    fn pend_low(&self) {
        match &self.host {
            Host::WorkItem(item) => {
                item.queue();
            }
            Host::Thread { wanted, .. } => {
                wanted.set();
            }
        }
    }
}

// SAFETY: pool blocks are 16-byte aligned and stay; `pend` queues the work item, sets the event, or queues the DPC that does;
// runners are threads.
unsafe impl Platform for PassivePlatform {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        crate::nt::allocate(self.tag, layout).ok()
    }
    unsafe fn free(&self, block: NonNull<u8>, _layout: Layout) {
        // SAFETY: by contract from `allocate` above.
        unsafe { crate::nt::release(self.tag, block) };
    }
    fn pend(&self) {
        if irql::current() <= irql::DISPATCH_LEVEL {
            self.pend_low();
        } else {
            self.dpc.queue();
        }
    }
    fn runner(&self) -> usize {
        sys::KeGetCurrentThread().addr()
    }
    fn micros(&self) -> u64 {
        support::micros()
    }
    fn relax(&self) {
        sys::cpu_relax();
    }
}

/// An executor at PASSIVE_LEVEL.
///
/// # IRQL
/// Spawn: <= DISPATCH_LEVEL. Waking its tasks: any. Making, stopping: PASSIVE_LEVEL.
pub struct PassiveExecutor {
    inner: Executor<PassivePlatform>,
    thread: UnsafeCell<Option<Thread>>,
}

// SAFETY: `thread` is written by `try_new_thread` before the value is shared and taken by the one call of `stop` that gets there.
unsafe impl Send for PassiveExecutor {}
// SAFETY: as above.
unsafe impl Sync for PassiveExecutor {}

unsafe extern "C" fn relay(
    _dpc: *mut sys::KDPC,
    context: sys::PVOID,
    _arg1: sys::PVOID,
    _arg2: sys::PVOID,
) {
    // SAFETY: the context is a live executor until `stop` has flushed this DPC.
    let executor = unsafe { &*context.cast::<PassiveExecutor>() };
    executor.core.platform().pend_low();
}

unsafe fn work(context: sys::PVOID) {
    // SAFETY: the context is a live executor until `stop` has waited for this work item.
    let executor = unsafe { &*context.cast::<PassiveExecutor>() };
    // A system worker is shared: let others in between batches.
    let _ = executor.core.run(Budget::polls(256));
}

impl PassiveExecutor {
    fn try_new(tag: Tag, host: Host) -> Result<Arc<Self>> {
        let platform = PassivePlatform {
            host,
            dpc: RawTimerDpc::uninit(),
            tag,
        };
        let executor = Self {
            inner: Executor::new(platform, tag),
            thread: UnsafeCell::new(None),
        };
        let executor = Arc::try_new(tag, executor)?;
        // SAFETY: in pool, so it does not move; the context lives until `stop`.
        unsafe { executor.core.platform().dpc.init(relay, executor.context()) };
        // SAFETY: in pool; `stop` comes before the drop (asserted there).
        unsafe { executor.timers.init() };
        Ok(executor)
    }

    fn context(&self) -> sys::PVOID {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// An executor run by a work item of `device`, which must outlive it.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn try_new_work_item(tag: Tag, device: &DeviceRef) -> Result<Arc<Self>> {
        let executor = Self::try_new(tag, Host::WorkItem(RawWorkItem::try_new(tag, work)?))?;
        if let Host::WorkItem(item) = &executor.core.platform().host {
            // SAFETY: in pool, so it does not move; the context suits `work` until `stop`.
            unsafe { item.init(device.as_ptr().as_raw().cast(), executor.context()) };
        }
        executor.stopped.store(false, Ordering::Release);
        Ok(executor)
    }

    /// An executor run by a system thread of its own; its tasks may block.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn try_new_thread(tag: Tag, level: Passive) -> Result<Arc<Self>> {
        let host = Host::Thread {
            wanted: RawEvent::uninit(),
            end: AtomicBool::new(false),
        };
        let executor = Self::try_new(tag, host)?;
        if let Host::Thread { wanted, .. } = &executor.core.platform().host {
            // SAFETY: in pool, so it does not move; nobody uses it yet.
            unsafe { wanted.init(EventKind::Synchronization) };
        }
        let shared = executor.clone();
        let thread = Thread::spawn(tag, level, move |level| shared.serve(level))?;
        // SAFETY: not shared yet with anyone who looks at it: the thread does not.
        unsafe { *executor.thread.get() = Some(thread) };
        executor.stopped.store(false, Ordering::Release);
        Ok(executor)
    }

    /// Body of the thread.
    fn serve(&self, level: Passive) {
        let Host::Thread { wanted, end } = &self.core.platform().host else {
            return;
        };
        loop {
            let _ = wanted.wait(level.into(), None);
            if end.load(Ordering::Acquire) {
                return;
            }
            while let Outcome::More { .. } = self.core.run(Budget::polls(1024)) {}
        }
    }

    /// Refuses new tasks, cancels and drains all there are, waits until no waker or handle is left, then ends the thread or waits
    /// for the work item, and flushes timer and DPC. Not from a task of this executor.
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
        support::drain(level, &self.core, || {});
        self.timers.stop(level);
        self.core.platform().dpc.stop(level);
        match &self.core.platform().host {
            Host::WorkItem(item) => item.stop(level),
            Host::Thread { wanted, end } => {
                end.store(true, Ordering::Release);
                wanted.set();
                // SAFETY: `stopped` lets one caller in here.
                drop(unsafe { (*self.thread.get()).take() });
            }
        }
    }
}

impl Deref for PassiveExecutor {
    type Target = Executor<PassivePlatform>;
    fn deref(&self) -> &Executor<PassivePlatform> {
        &self.inner
    }
}

impl Drop for PassiveExecutor {
    fn drop(&mut self) {
        let stopped = self.stopped.load(Ordering::Acquire);
        assert!(
            stopped || sys::unwinding(),
            "PassiveExecutor dropped without stop"
        );
    }
}

impl fmt::Debug for PassiveExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassiveExecutor({} blocks)", self.core.blocks())
    }
}
