// SPDX-License-Identifier: BSD-2-Clause
//! The wrappers over scripted tables: the real code, calling C functions of a fake bus.
#![expect(unsafe_code, reason = "plays the bus driver behind its C tables")]

mod bus;
mod cache;
mod cancel;
mod events;
mod evtchn;
mod frontend;
mod gnttab;
mod negotiation;
mod published;
mod range_set;
mod services;
mod store;
mod suspend;
mod tree;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use kexec::nt::Tag;

const TAG: Tag = Tag(*b"TEST");

/// Counts wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (count.clone(), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Polls once with a waker that does nothing.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that needs one poll.
#[track_caller]
fn now<F: Future>(future: F) -> F::Output {
    let future = core::pin::pin!(future);
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}
