// SPDX-License-Identifier: BSD-2-Clause
//! What the models stand on: a platform that poisons what is freed, a machine that runs the core, a future that can be watched.
//!
//! Freed blocks are kept until the end of a run, so that a use after free is seen. Only steps of this crate's atomics are points
//! where the scheduler may switch; the plain atomics and mutexes here are the observers' and take no part.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: the machine keeps its contract by checking that it ends empty"
)]

use core::alloc::Layout;
use core::future::{Future, poll_fn};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

use super::{Budget, Core};
use crate::task::{Group, JoinHandle, SpawnError};
use crate::{Platform, atomic, nt, task};

pub(super) struct Model {
    pub(super) pends: AtomicUsize,
    pub(super) live: AtomicUsize,
    /// Set when the core was found empty: from then on nobody may touch it.
    /// A step of the scheduler, and a read-modify-write, so that it tries both orders of an end and a use.
    pub(super) ended: atomic::AtomicBool,
    freed: Mutex<Vec<(usize, Layout)>>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            pends: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            ended: atomic::AtomicBool::new(false),
            freed: Mutex::default(),
        }
    }
}

impl Model {
    fn check_alive(&self) {
        let ended = self.ended.fetch_or(false, Ordering::SeqCst);
        assert!(!ended, "the core was used after it was found empty");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        for (block, layout) in self.freed.lock().expect("lock").drain(..) {
            // SAFETY: allocated with this layout, and freed by the core exactly once (checked in `free`).
            unsafe { std::alloc::dealloc(block as *mut u8, layout) };
        }
    }
}

std::thread_local! {
    static RUNNER: u8 = const { 0 };
}

// SAFETY: the system allocator aligns to 16 on request; `pend` only counts; threads have their own runner variable.
unsafe impl Platform for Model {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.check_alive();
        self.live.fetch_add(1, Ordering::SeqCst);
        // SAFETY: a task's layout is not empty.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        self.check_alive();
        self.live.fetch_sub(1, Ordering::SeqCst);
        let mut freed = self.freed.lock().expect("lock");
        let address = block.as_ptr().addr();
        assert!(
            freed.iter().all(|(other, _)| *other != address),
            "freed twice"
        );
        // SAFETY: by contract from `allocate` with this layout, and not used again.
        unsafe { block.as_ptr().write_bytes(0xEE, layout.size()) };
        freed.push((address, layout));
    }
    fn pend(&self) {
        self.check_alive();
        self.pends.fetch_add(1, Ordering::SeqCst);
    }
    fn runner(&self) -> usize {
        RUNNER.with(|here| core::ptr::from_ref(here).addr())
    }
    fn micros(&self) -> u64 {
        0
    }
    fn relax(&self) {
        thread::yield_now();
    }
}

pub(super) struct Machine(pub(super) Core<Model>);

impl Machine {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Core::new(Model::default())))
    }

    pub(super) fn try_spawn<F: Future<Output: Send> + Send + 'static>(
        &self,
        future: F,
    ) -> Result<JoinHandle<F::Output>, SpawnError<F>> {
        // SAFETY: in an Arc, and `finish` checks that it is empty.
        unsafe { self.0.spawn(task!("model"), None, future) }
    }

    pub(super) fn spawn<F: Future<Output: Send> + Send + 'static>(
        &self,
        future: F,
    ) -> JoinHandle<F::Output> {
        self.try_spawn(future).expect("spawn")
    }

    pub(super) fn group(&self) -> nt::Arc<Group> {
        // SAFETY: in an Arc, and `finish` checks that it is empty.
        let group = unsafe { self.0.group("model") };
        nt::Arc::try_new(nt::Tag(*b"Modl"), group).expect("memory")
    }

    pub(super) fn try_spawn_in<F: Future<Output: Send> + Send + 'static>(
        &self,
        group: &nt::Arc<Group>,
        future: F,
    ) -> Result<JoinHandle<F::Output>, SpawnError<F>> {
        // SAFETY: in an Arc, and `finish` checks that it is empty.
        unsafe { self.0.spawn(task!("model"), Some(group), future) }
    }

    /// What a back end does: runs once for each pend.
    pub(super) fn serve(&self) {
        while self.0.platform().pends.swap(0, Ordering::SeqCst) != 0 {
            let _ = self.0.run(Budget::polls(100));
        }
    }

    /// Nothing may be left that was not asked for by a pend.
    pub(super) fn finish(&self) {
        self.serve();
        assert!(self.0.is_empty(), "{} blocks", self.0.blocks());
        assert_eq!(self.0.platform().live.load(Ordering::SeqCst), 0);
    }
}

#[derive(Clone, Default)]
pub(super) struct Probe {
    pub(super) waker: Arc<Mutex<Option<Waker>>>,
    pub(super) done: Arc<AtomicUsize>,
    pub(super) seen: Arc<AtomicUsize>,
    pub(super) drops: Arc<AtomicUsize>,
}

pub(super) struct OnDrop(pub(super) Arc<AtomicUsize>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Probe {
    /// Ready once `done` is set; records what it saw.
    pub(super) fn future(&self) -> impl Future<Output = usize> + Send + 'static {
        let this = self.clone();
        let guard = OnDrop(self.drops.clone());
        poll_fn(move |context| {
            let _ = &guard;
            let done = this.done.load(Ordering::SeqCst);
            this.seen.store(done, Ordering::SeqCst);
            if done != 0 {
                return Poll::Ready(done);
            }
            let waker = context.waker().clone();
            // Bound first: dropping a waker is a step of the scheduler, which must not be made under a lock that it does not see.
            let old = this.waker.lock().expect("lock").replace(waker);
            drop(old);
            Poll::Pending
        })
    }
    pub(super) fn take(&self) -> Waker {
        self.waker.lock().expect("lock").take().expect("polled")
    }
    pub(super) fn forget(&self) {
        let old = self.waker.lock().expect("lock").take();
        drop(old);
    }
}

pub(super) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    core::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

pub(super) struct CountWake(pub(super) AtomicUsize);
impl std::task::Wake for CountWake {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
