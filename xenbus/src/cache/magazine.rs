// SPDX-License-Identifier: BSD-2-Clause
//! A few objects that one processor keeps at hand.
//!
//! Used by its processor at DISPATCH_LEVEL, so nobody competes for it as a rule; flushing takes objects from any processor, and
//! exchanges make that safe.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Objects in a magazine.
pub const SLOTS: usize = 6;

/// See the module. A line of the cache for itself.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Magazine([AtomicUsize; SLOTS]);

impl Magazine {
    /// Takes an object.
    pub fn take(&self) -> Option<usize> {
        self.0
            .iter()
            .filter(|slot| slot.load(Ordering::Relaxed) != 0)
            .map(|slot| slot.swap(0, Ordering::Acquire))
            .find(|&object| object != 0)
    }

    /// Keeps an object; false if there is no room.
    pub fn put(&self, object: usize) -> bool {
        self.0.iter().any(|slot| {
            let order = (Ordering::Release, Ordering::Relaxed);
            slot.load(Ordering::Relaxed) == 0
                && slot.compare_exchange(0, object, order.0, order.1).is_ok()
        })
    }
}
