// SPDX-License-Identifier: BSD-2-Clause
//! [`Rundown`]: references that can be refused for good and waited out.
//!
//! One word: `count << 1` while open, `address of the waiter's block | 1` once [`Rundown::wait`] has begun. The waiter's block is
//! on its stack and its event is the last thing that a releaser touches. Nothing is allocated.
#![expect(
    unsafe_code,
    reason = "the word carries the address of a block on the waiter's stack"
)]

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::EventKind;
use super::event::RawEvent;
use crate::Passive;

#[repr(align(8))]
struct WaitBlock {
    left: AtomicUsize,
    event: RawEvent,
}

/// Rundown protection, open when made.
///
/// # IRQL
/// Acquire: any. Release: <= DISPATCH_LEVEL. Wait: PASSIVE_LEVEL.
#[derive(Default)]
pub struct Rundown(AtomicUsize);

impl Rundown {
    /// Open, no references.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// A reference, unless [`Self::wait`] has begun.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn acquire(&self) -> Option<RundownGuard<'_>> {
        self.acquire_raw().then(|| RundownGuard(self))
    }

    /// As [`Self::acquire`] without a guard: balanced by [`Self::release_raw`].
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn acquire_raw(&self) -> bool {
        self.0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |word| {
                (word & 1 == 0).then(|| word + 2)
            })
            .is_ok()
    }

    /// Gives back a reference of [`Self::acquire_raw`].
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn release_raw(&self) {
        let taken = self
            .0
            .fetch_update(Ordering::Release, Ordering::Acquire, |word| {
                assert!(word != 0, "rundown released too often");
                (word & 1 == 0).then(|| word - 2)
            });
        if let Err(word) = taken {
            // SAFETY: the waiter's block stays until its event is set, which the last of its references does, below.
            let block = unsafe { &*((word & !1) as *const WaitBlock) };
            if block.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                block.event.set();
            }
        }
    }

    /// Refuses new references and waits until those held are given back. Once.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn wait(&self, level: Passive) {
        let block = WaitBlock {
            left: AtomicUsize::new(0),
            event: RawEvent::uninit(),
        };
        // SAFETY: the block stays where it is on this stack until the wait below is over.
        unsafe { block.event.init(EventKind::Notification) };
        let marked = core::ptr::from_ref(&block) as usize | 1;
        loop {
            let word = self.0.load(Ordering::Acquire);
            assert!(word & 1 == 0, "rundown waited for twice");
            // Releasers read it only after the exchange below has published the block.
            block.left.store(word >> 1, Ordering::Relaxed);
            if self
                .0
                .compare_exchange(word, marked, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                if word != 0 {
                    let _ = block.event.wait(level.into(), None);
                }
                break;
            }
        }
        // Closed for good: odd, and no releaser is left to follow the address.
        self.0.store(1, Ordering::Release);
    }

    /// Opens it again after [`Self::wait`] has returned.
    ///
    /// # IRQL
    /// Any.
    pub fn reopen(&self) {
        let _ = self
            .0
            .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl fmt::Debug for Rundown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.load(Ordering::Relaxed);
        if word & 1 == 0 {
            write!(f, "Rundown({})", word >> 1)
        } else {
            f.write_str("Rundown(closed)")
        }
    }
}

/// One reference on a [`Rundown`].
///
/// # IRQL
/// Drop: <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct RundownGuard<'a>(&'a Rundown);

impl Drop for RundownGuard<'_> {
    fn drop(&mut self) {
        self.0.release_raw();
    }
}
