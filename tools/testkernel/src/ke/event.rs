// SPDX-License-Identifier: BSD-2-Clause
//! Events.

use alloc::boxed::Box;

use crate::ke::wait::Timeout;
use crate::mem::Ptr;
use crate::status::NtStatus;

/// Initialises the `KEVENT` at `event`.
pub fn init(_event: Ptr, _synchronization: bool, _signaled: bool) {
    unimplemented!()
}

/// Signals the `KEVENT`; returns the state before. Up to `DISPATCH_LEVEL`.
pub fn set(_event: Ptr) -> i32 {
    unimplemented!()
}

/// Resets the `KEVENT`; returns the state before. Up to `DISPATCH_LEVEL`.
pub fn reset(_event: Ptr) -> i32 {
    unimplemented!()
}

/// An event that the kernel itself owns; it may be handed to drivers as long as this lives.
#[derive(Debug)]
pub struct Event(Box<[u64; 3]>);

impl Event {
    /// An auto-reset event when `synchronization`, else a notification event.
    pub fn new(synchronization: bool) -> Self {
        let this = Self(Box::new([0; 3]));
        init(this.ptr(), synchronization, false);
        this
    }

    /// The `KEVENT`.
    pub fn ptr(&self) -> Ptr {
        Ptr(self.0.as_ptr() as usize)
    }

    /// Signals it.
    pub fn set(&self) {
        set(self.ptr());
    }

    /// Waits at `PASSIVE_LEVEL`.
    pub fn wait(&self, timeout: Timeout) -> NtStatus {
        crate::ke::wait::single(self.ptr(), timeout)
    }
}

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
