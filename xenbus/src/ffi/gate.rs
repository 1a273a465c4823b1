// SPDX-License-Identifier: BSD-2-Clause
//! The bus for methods that may be called above DISPATCH_LEVEL, where no lock can be taken.
//!
//! [`Gate::open`] after a start, [`Gate::close`] before the stop. Whoever enters is counted before it looks at the pointer, and the
//! close clears the pointer before it looks at the count: so either the visitor finds nothing, or the close waits for it.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use kexec::nt::{Arc, delay};
use kexec::{Duration, Passive};

use super::bus::Bus;

/// See the module.
#[derive(Default)]
pub(super) struct Gate {
    bus: AtomicPtr<Bus>,
    inside: AtomicU32,
}

impl Gate {
    /// Lets visitors in; `bus` lives until the gate is closed.
    pub(super) fn open(&self, bus: &Arc<Bus>) {
        let bus: &Bus = bus;
        self.bus
            .store(core::ptr::from_ref(bus).cast_mut(), Ordering::SeqCst);
    }

    /// Lets nobody in any more, and returns when nobody is inside.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub(super) fn close(&self, passive: Passive) {
        self.bus.store(core::ptr::null_mut(), Ordering::SeqCst);
        // Visits are short and never wait.
        while self.inside.load(Ordering::SeqCst) != 0 {
            delay(passive, Duration::from_millis(1));
        }
    }

    /// Runs `visit` with the bus, if there is one.
    ///
    /// # IRQL
    /// Any.
    pub(super) fn visit<T>(&self, visit: impl FnOnce(&Bus) -> T) -> Option<T> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        // SAFETY: NULL, or a bus that is not freed before a close that waits for this visitor (head of the file).
        let bus = unsafe { self.bus.load(Ordering::SeqCst).as_ref() };
        let result = bus.map(visit);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        result
    }
}
