// SPDX-License-Identifier: BSD-2-Clause
//! [`Event`]: KEVENT, for threads. Tasks wait on [`crate::sync::Event`] instead.
#![expect(unsafe_code, reason = "a kernel object at a fixed address")]

use core::cell::UnsafeCell;
use core::fmt;

use super::sys::{self, KEVENT};
use super::{Box, Tag};
use crate::{Apc, Duration, Result};

/// How a KEVENT behaves when a wait is satisfied.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Stays signalled until cleared; releases every waiter.
    Notification,
    /// Releases one waiter and clears itself.
    Synchronization,
}

/// The wait ended by its timeout.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl From<TimedOut> for crate::Status {
    fn from(_: TimedOut) -> Self {
        Self::IO_TIMEOUT
    }
}

/// A KEVENT in place. It must not move between [`Self::init`] and its last use.
pub(crate) struct RawEvent(UnsafeCell<KEVENT>);

// SAFETY: KEVENTs are used from any processor by design; the kernel synchronises access.
unsafe impl Send for RawEvent {}
// SAFETY: as above.
unsafe impl Sync for RawEvent {}

impl RawEvent {
    /// Storage, not initialised yet.
    pub(crate) const fn uninit() -> Self {
        // SAFETY: all-zero is a valid bit pattern of a KEVENT.
        Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// Makes it an event, clear.
    ///
    /// # Safety
    /// The value does not move from here on, and nobody uses it yet.
    pub(crate) unsafe fn init(&self, kind: EventKind) {
        let kind = match kind {
            EventKind::Notification => sys::NotificationEvent,
            EventKind::Synchronization => sys::SynchronizationEvent,
        };
        // SAFETY: storage of the right type at its final address.
        unsafe { sys::KeInitializeEvent(self.0.get(), kind, 0) };
    }

    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub(crate) fn set(&self) -> bool {
        // SAFETY: initialised; no wait follows.
        unsafe { sys::KeSetEvent(self.0.get(), 0, 0) != 0 }
    }

    pub(crate) fn clear(&self) {
        // SAFETY: initialised.
        unsafe { sys::KeClearEvent(self.0.get()) };
    }

    /// # IRQL
    /// <= APC_LEVEL.
    pub(crate) fn wait(
        &self,
        _level: Apc,
        limit: Option<Duration>,
    ) -> core::result::Result<(), TimedOut> {
        // SAFETY: a live dispatcher object, at <= APC_LEVEL (token).
        unsafe { wait_object(self.0.get().cast(), limit) }
    }
}

/// Waits for a dispatcher object.
///
/// # IRQL
/// <= APC_LEVEL; any up to DISPATCH_LEVEL with a zero limit.
///
/// # Safety
/// `object` is a live dispatcher object and the IRQL allows the wait.
pub(crate) unsafe fn wait_object(
    object: sys::PVOID,
    limit: Option<Duration>,
) -> core::result::Result<(), TimedOut> {
    let mut relative = limit.map(|span| -span.ticks().cast_signed().max(0));
    let timeout = relative
        .as_mut()
        .map_or(core::ptr::null_mut(), core::ptr::from_mut);
    // SAFETY: by contract; executive reason, kernel mode, not alertable.
    let status = unsafe { sys::KeWaitForSingleObject(object, 0, 0, 0, timeout) };
    if status == crate::status::STATUS_TIMEOUT {
        Err(TimedOut)
    } else {
        Ok(())
    }
}

/// An owned KEVENT.
///
/// # IRQL
/// Set and clear: <= DISPATCH_LEVEL. Wait: <= APC_LEVEL.
pub struct Event(Box<RawEvent>);

impl Event {
    /// A clear event.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(tag: Tag, kind: EventKind) -> Result<Self> {
        let event = Box::try_new(tag, RawEvent::uninit())?;
        // SAFETY: in pool, so it does not move.
        unsafe { event.init(kind) };
        Ok(Self(event))
    }

    /// Signals it; says whether it was signalled before.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set(&self) -> bool {
        self.0.set()
    }

    /// Makes it not signalled.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Waits for the signal, at most for `limit`.
    ///
    /// # IRQL
    /// <= APC_LEVEL.
    pub fn wait(
        &self,
        level: impl Into<Apc>,
        limit: Option<Duration>,
    ) -> core::result::Result<(), TimedOut> {
        self.0.wait(level.into(), limit)
    }

    /// The object, for foreign code that sets it. It must not do so after the event was dropped.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_raw(&self) -> *mut KEVENT {
        self.0.0.get()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nt::Event")
    }
}

/// Makes a pinned stack event; for [`super::delay`].
pub(super) fn init_on_stack(event: core::pin::Pin<&RawEvent>) {
    // SAFETY: pinned, so it does not move, and nobody uses it yet.
    unsafe { event.init(EventKind::Notification) };
}

/// See [`super::flush_dpcs`].
pub(super) fn flush_dpcs() {
    // SAFETY: the caller's token says PASSIVE_LEVEL.
    unsafe { sys::KeFlushQueuedDpcs() };
}
