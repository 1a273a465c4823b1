// SPDX-License-Identifier: BSD-2-Clause
//! [`Executor`]: what the two NT back ends have in common, behind their `Deref`: spawning, groups, time, and the list of tasks.
#![expect(unsafe_code, reason = "the core's spawn has a contract")]

use core::fmt;
use core::future::Future;
use core::sync::atomic::AtomicBool;

use super::{Core, TaskState};
use crate::nt::{Arc, Tag};
use crate::task::{Group, JoinHandle, Site, SpawnError, TaskStorage};
use crate::timer::{Interval, Sleep, Timeout, Timers};
use crate::{Duration, Instant, Platform, Result};

/// A core with timers, in pool; made by [`DpcExecutor`](super::DpcExecutor) and [`PassiveExecutor`](super::PassiveExecutor) only.
///
/// # Invariants
/// The value does not move once its back end is made, and is not dropped before the back end's `stop` has seen `is_empty`.
///
/// # IRQL
/// As said at each method.
pub struct Executor<P: Platform> {
    pub(super) core: Core<P>,
    pub(super) timers: Timers,
    pub(super) tag: Tag,
    pub(super) stopped: AtomicBool,
}

impl<P: Platform> Executor<P> {
    /// Counts as stopped until its back end is made.
    pub(super) fn new(platform: P, tag: Tag) -> Self {
        Self {
            core: Core::new(platform),
            timers: Timers::uninit(),
            tag,
            stopped: AtomicBool::new(true),
        }
    }

    /// Spawns `future`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn spawn<S, F>(
        &self,
        site: S,
        future: F,
    ) -> core::result::Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        // SAFETY: by the invariant.
        unsafe { self.core.spawn(site, None, future) }
    }

    /// Spawns `future` in `group`, a group of this executor.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn spawn_in<S, F>(
        &self,
        group: &Arc<Group>,
        site: S,
        future: F,
    ) -> core::result::Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        // SAFETY: by the invariant.
        unsafe { self.core.spawn(site, Some(group), future) }
    }

    /// Spawns `future` into `storage`, in `group` when given. Allocates nothing; fails with `DEVICE_BUSY` while another task is there.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn spawn_stored<S, F, const SIZE: usize>(
        &self,
        storage: &'static TaskStorage<SIZE>,
        group: Option<&Arc<Group>>,
        site: S,
        future: F,
    ) -> core::result::Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        // SAFETY: by the invariant; the storage is static.
        unsafe { self.core.spawn_stored(storage, site, group, future) }
    }

    /// A group for tasks of this executor.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn group(&self, name: &'static str) -> Result<Arc<Group>> {
        // SAFETY: by the invariant.
        Arc::try_new(self.tag, unsafe { self.core.group(name) })
    }

    /// The executor's timers.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Waits for `span`; see [`Timers::sleep`].
    pub fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.timers.sleep(span)
    }

    /// Waits until `deadline`; see [`Timers::sleep_until`].
    pub fn sleep_until(&self, deadline: Instant) -> Sleep<'_> {
        self.timers.sleep_until(deadline)
    }

    /// Bounds `future` in time; see [`Timers::timeout`].
    pub fn timeout<F: Future>(&self, span: Duration, future: F) -> Timeout<'_, F> {
        self.timers.timeout(span, future)
    }

    /// A periodic tick; see [`Timers::interval`].
    pub fn interval(&self, period: Duration) -> Interval<'_> {
        self.timers.interval(period)
    }

    /// Calls `show` for every live task unless another processor runs the executor; see [`Core::inspect`].
    ///
    /// # IRQL
    /// Any.
    pub fn inspect(&self, show: impl FnMut(TaskState)) -> bool {
        self.core.inspect(show)
    }

    /// Calls `show` for every live task, with every other processor stopped; see [`Core::for_each_task`].
    ///
    /// # IRQL
    /// Any.
    pub fn for_each_task(&self, show: impl FnMut(TaskState)) {
        self.core.for_each_task(show);
    }

    /// Task blocks not yet freed.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.core.blocks()
    }

    /// The address of the core, the start for [`crate::exec::layout`] in a memory image.
    #[must_use]
    pub fn core_address(&self) -> usize {
        core::ptr::from_ref(&self.core).addr()
    }
}

impl<P: Platform> fmt::Debug for Executor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executor({} blocks)", self.core.blocks())
    }
}
