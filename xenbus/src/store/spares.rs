// SPDX-License-Identifier: BSD-2-Clause
//! Request blocks that wait to be used again, so that a request takes nothing from the pool.
//!
//! Whoever has the last reference to a request that is done gives it here: the caller that has its result, or the task. A place
//! is filled and emptied by an exchange, so nobody waits for anybody; two that meet lose a block to the pool at worst. What is
//! still referred to, and what comes when every place is taken, goes back to the pool. `<= DISPATCH_LEVEL`. Stops by
//! [`Spares::close`]; what is left in a place goes with this object.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kexec::nt::{Arc, Link};

use super::request::Request;

/// Most blocks kept: four windows of requests, 20 KiB.
pub const PLACES: usize = 64;

/// The blocks.
pub struct Spares {
    places: [Link<Request>; PLACES],
    /// The place that is filled next, modulo [`PLACES`]; those below it are full, as far as anybody knows.
    next: AtomicUsize,
    closed: AtomicBool,
}

impl Spares {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: [const { Link::new() }; PLACES],
            next: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// A block that nobody else refers to, as it was left.
    #[must_use]
    pub fn take(&self) -> Option<Arc<Request>> {
        let next = self.next.fetch_sub(1, Ordering::Relaxed);
        let block = self.places[next.wrapping_sub(1) % PLACES].take();
        if block.is_none() {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
        block
    }

    /// Gives up a reference. The block is kept if that was the last one.
    pub fn give(&self, mut block: Arc<Request>) {
        let Some(request) = Arc::get_mut(&mut block) else {
            return;
        };
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        request.clear();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        drop(self.places[next % PLACES].set(block));
    }

    /// Gives every block back to the pool, and keeps none from here on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for place in &self.places {
            drop(place.take());
        }
    }
}

impl Default for Spares {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::wire::Kind;
    use std::vec::Vec;

    fn request() -> Arc<Request> {
        Request::try_new(Kind::READ, 0, 0, &[b"name\0"]).expect("memory")
    }

    #[test]
    fn the_block_given_last_comes_first_and_only_once() {
        let spares = Spares::new();
        assert!(spares.take().is_none());
        let (first, second) = (request(), request());
        let addresses = [&*second, &*first].map(core::ptr::from_ref);
        spares.give(first);
        spares.give(second);
        for address in addresses {
            assert_eq!(core::ptr::from_ref(&*spares.take().expect("kept")), address);
        }
        assert!(spares.take().is_none());
    }

    #[test]
    fn a_block_that_somebody_refers_to_is_not_kept() {
        let spares = Spares::new();
        let request = request();
        spares.give(request.clone());
        assert!(spares.take().is_none());
        assert_eq!(Arc::count(&request), 1);
    }

    #[test]
    fn no_more_blocks_are_kept_than_there_are_places() {
        let spares = Spares::new();
        for _ in 0..3 * PLACES + 1 {
            spares.give(request());
        }
        let kept: Vec<_> = core::iter::from_fn(|| spares.take()).collect();
        assert_eq!(kept.len(), PLACES);
    }

    #[test]
    fn nothing_is_kept_once_it_is_closed() {
        let spares = Spares::new();
        spares.give(request());
        spares.close();
        spares.give(request());
        assert!(spares.take().is_none());
    }
}
