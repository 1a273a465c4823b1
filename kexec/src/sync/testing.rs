// SPDX-License-Identifier: BSD-2-Clause
//! A waker that counts, and one poll with it.

extern crate std;

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;

/// Wakes counted so far.
pub(crate) struct Wakes(Arc<Counter>);
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    pub(crate) fn get(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }
}

pub(crate) fn counted() -> (Waker, Wakes) {
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    (Waker::from(counter.clone()), Wakes(counter))
}

pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}
