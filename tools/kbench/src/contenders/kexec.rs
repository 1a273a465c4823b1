// SPDX-License-Identifier: BSD-2-Clause
//! kexec's core: on a platform whose pend does nothing, like embassy's raw executor with such a pender, and on the platform of
//! host threads, whose pend takes a mutex and notifies a condition variable.
#![expect(
    unsafe_code,
    reason = "implements kexec's Platform; the core's spawn is unsafe"
)]

use std::alloc::{Layout, alloc, dealloc};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use kexec::exec::{Budget, Core, Outcome};
use kexec::platform::{Platform, Threads};
use kexec::task;

use super::Runtime;
use crate::work::Left;

/// One thread, which runs the core whenever it has woken something.
pub(crate) struct NoPend(Instant);

// SAFETY: the global allocator aligns to 16 on request; the one thread runs the core after each wake; it is the one runner.
unsafe impl Platform for NoPend {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: a task's layout is not empty.
        NonNull::new(unsafe { alloc(layout) })
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by contract from `allocate` with this layout.
        unsafe { dealloc(block.as_ptr(), layout) };
    }
    fn pend(&self) {}
    fn runner(&self) -> usize {
        1
    }
    fn micros(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// What differs between the two platforms.
pub(crate) trait Ground: Platform {
    const NAME: &'static str;
    fn new() -> Self;
    /// What the thread that a pend is for does before a run.
    fn asked(&self) {}
}

impl Ground for NoPend {
    const NAME: &'static str = "kexec";
    fn new() -> Self {
        Self(Instant::now())
    }
}

/// The platform whose pend is costly.
pub(crate) type Costly = Threads;

impl Ground for Costly {
    const NAME: &'static str = "kexec";
    fn new() -> Self {
        Self::default()
    }
    fn asked(&self) {
        self.take_pend();
    }
}

/// A core for the rest of the process.
pub(crate) struct Kexec<P: Ground>(&'static Core<P>, PhantomData<P>);

impl<P: Ground> Kexec<P> {
    fn start<F>(&self, future: F) -> kexec::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // SAFETY: the core is leaked: it neither moves nor goes.
        unsafe { self.0.spawn(task!("bench"), None, future) }.expect("memory for a task")
    }

    fn run(&self) {
        self.0.platform().asked();
        while let Outcome::More { .. } = self.0.run(Budget::polls(1024)) {}
    }
}

impl<P: Ground> Runtime for Kexec<P> {
    const NAME: &'static str = P::NAME;

    fn new() -> Self {
        Self(Box::leak(Box::new(Core::new(P::new()))), PhantomData)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.start(future).detach();
    }

    fn turn(&self, left: &Left) {
        self.run();
        debug_assert!(left.done());
    }

    fn join(&self, n: usize) -> usize {
        let mut handles = Vec::with_capacity(n);
        handles.extend((0..n).map(|index| self.start(async move { index })));
        self.run();
        let mut context = Context::from_waker(Waker::noop());
        let outputs =
            handles.into_iter().map(
                |mut handle| match Pin::new(&mut handle).poll(&mut context) {
                    Poll::Ready(Ok(index)) => index,
                    other => panic!("not finished: {other:?}"),
                },
            );
        let sum = outputs.sum();
        // The executor frees the blocks.
        self.run();
        sum
    }
}
