// SPDX-License-Identifier: BSD-2-Clause
//! The run queue with a consumer in the middle of a producer's push, on the same thread: one that waited for it would never end.
#![expect(unsafe_code, reason = "pushes headers that are no tasks")]

use core::future::{Future, pending};
use core::ptr::{NonNull, null, null_mut};

use super::queue::RunQueue;
use crate::atomic::{AtomicPtr, AtomicU32, AtomicWaker, Ordering};
use crate::task;
use crate::task::{Block, Header, JOIN, REF, SCHEDULED, Site};

/// A header as `spawn` makes it, of no executor.
fn header<S: Site, F: Future<Output: Send> + Send + 'static>(_: S, _: F) -> Header {
    Header {
        state: AtomicU32::new(SCHEDULED | JOIN | (2 * REF)),
        polls: AtomicU32::new(0),
        next: AtomicPtr::new(null_mut()),
        core: null(),
        vtable: &Block::<S, F>::VTABLE,
        list_next: AtomicPtr::new(null_mut()),
        list_prev: AtomicPtr::new(null_mut()),
        group: null(),
        wakes: AtomicU32::new(0),
        offset: 0,
        linked: core::cell::Cell::new(false),
        join: AtomicWaker::new(),
    }
}

#[test]
fn a_consumer_that_interrupts_a_producer_takes_what_is_there_and_goes() {
    let queue = RunQueue::new();
    let [slow, quick, third] = [(); 3].map(|()| header(task!("queued"), pending::<()>()));
    let [slow, quick, third] = [&slow, &quick, &third].map(NonNull::from);
    let mut interrupts = 0;
    let mut interrupt = || {
        interrupts += 1;
        // SAFETY: pushed once, and alive until the end.
        assert!(unsafe { queue.push(quick) }, "the queue was idle");
        let taken = queue.start().expect("nobody runs");
        assert_eq!((taken.first, taken.last), (quick.as_ptr(), quick.as_ptr()));
        // SAFETY: as above.
        assert!(!unsafe { queue.push(third) }, "somebody runs");
        let taken = queue.take();
        assert_eq!((taken.first, taken.last), (third.as_ptr(), third.as_ptr()));
        assert!(queue.finish(), "the producer has published nothing yet");
    };
    // SAFETY: as above.
    assert!(unsafe { queue.push_from_idle(slow, &mut interrupt) });
    assert_eq!(interrupts, 1);
    let taken = queue.start().expect("nobody runs");
    assert_eq!((taken.first, taken.last), (slow.as_ptr(), slow.as_ptr()));
    // SAFETY: alive.
    let next = unsafe { slow.as_ref() }.next.load(Ordering::Relaxed);
    assert!(next.is_null() && queue.finish() && queue.is_idle());
}
