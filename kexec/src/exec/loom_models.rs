// SPDX-License-Identifier: BSD-2-Clause
//! Loom models of the core: `RUSTFLAGS="--cfg loom" CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test -p kexec --lib loom`.
//!
//! Modelled are the run queue's word and the tasks' state words (this crate's atomics). The join waker's slot is the crate
//! atomic-waker, which has models of its own; its operations are single steps here. Freed blocks are poisoned and kept until the
//! end of a run, so that a use after free is seen.
//!
//! Each model lists the mutants that it must kill: changes of one line of the core under which it fails.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: the models keep its contract by leaking or checking it"
)]

use core::alloc::Layout;
use core::future::{Future, poll_fn};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use loom::thread;

use super::{Budget, Core, Outcome};
use crate::task::JoinHandle;
use crate::{Aborted, Platform, task};

#[derive(Default)]
struct Model {
    pends: AtomicUsize,
    live: AtomicUsize,
    freed: Mutex<Vec<(usize, Layout)>>,
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
        self.live.fetch_add(1, Ordering::SeqCst);
        // SAFETY: a task's layout is not empty.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
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

struct Machine(Core<Model>);

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self(Core::new(Model::default())))
    }

    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        // SAFETY: in an Arc, and `finish` checks that it is empty.
        unsafe { self.0.spawn(task!("model"), None, future) }.expect("spawn")
    }

    /// What a back end does: runs once for each pend.
    fn serve(&self) {
        while self.0.platform().pends.swap(0, Ordering::SeqCst) != 0 {
            let _ = self.0.run(Budget::polls(100));
        }
    }

    /// Nothing may be left that was not asked for by a pend.
    fn finish(&self) {
        self.serve();
        assert!(self.0.is_empty(), "{} blocks", self.0.blocks());
        assert_eq!(self.0.platform().live.load(Ordering::SeqCst), 0);
    }
}

#[derive(Clone, Default)]
struct Probe {
    waker: Arc<Mutex<Option<Waker>>>,
    done: Arc<AtomicUsize>,
    seen: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

struct OnDrop(Arc<AtomicUsize>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Probe {
    /// Ready once `done` is set; records what it saw.
    fn future(&self) -> impl Future<Output = usize> + Send + 'static {
        let this = self.clone();
        let guard = OnDrop(self.drops.clone());
        poll_fn(move |context| {
            let _ = &guard;
            let done = this.done.load(Ordering::SeqCst);
            this.seen.store(done, Ordering::SeqCst);
            if done != 0 {
                return Poll::Ready(done);
            }
            *this.waker.lock().expect("lock") = Some(context.waker().clone());
            Poll::Pending
        })
    }
    fn take(&self) -> Waker {
        self.waker.lock().expect("lock").take().expect("polled")
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    core::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

struct CountWake(AtomicUsize);
impl std::task::Wake for CountWake {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A wake against a drain that goes idle: the task is polled after the wake.
///
/// Mutants: `RunQueue::finish` stores IDLE instead of comparing; `RunQueue::push` pends only when it found tasks; `Core::step`
/// clears SCHEDULED after the poll; `Header::schedule` returns early on a plain load of SCHEDULED.
#[test]
fn loom_wake_against_drain_and_idle() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let handle = machine.spawn(probe.future());
        machine.serve();
        let waker = probe.take();
        // Scheduled once more, so that the drain below is in the middle of something.
        waker.wake_by_ref();
        let (done, other) = (probe.done.clone(), machine.clone());
        let wake = thread::spawn(move || {
            done.store(1, Ordering::SeqCst);
            waker.wake();
            drop(other);
        });
        machine.serve();
        wake.join().expect("thread");
        machine.serve();
        assert_eq!(probe.seen.load(Ordering::SeqCst), 1, "the wake was lost");
        *probe.waker.lock().expect("lock") = None;
        drop(handle);
        machine.finish();
    });
}

/// Two wakers at once: one of them pushes, one pend, one poll.
///
/// Mutants: `Header::schedule` pushes whatever the flag said before; `RunQueue::push` loses the tasks below.
#[test]
fn loom_two_wakes_are_one_push() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let handle = machine.spawn(probe.future());
        machine.serve();
        let waker = probe.take();
        let second = waker.clone();
        let thread = thread::spawn(move || second.wake());
        waker.wake();
        thread.join().expect("thread");
        assert_eq!(machine.0.platform().pends.load(Ordering::SeqCst), 1);
        assert_eq!(
            machine.0.run(Budget::polls(100)),
            Outcome::Idle { polls: 1 }
        );
        *probe.waker.lock().expect("lock") = None;
        drop(handle);
        machine.0.platform().pends.store(1, Ordering::SeqCst);
        machine.finish();
    });
}

/// An abort against a poll that completes: the future is dropped once, the handle says which of the two it was.
///
/// Mutants: `Core::complete` releases the executor's reference although SCHEDULED was set; `JoinHandle::abort` sets CANCELLED
/// without scheduling.
#[test]
fn loom_abort_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        let mut handle = machine.spawn(probe.future());
        machine.serve();
        probe.done.store(1, Ordering::SeqCst);
        probe.take().wake();
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        handle.abort();
        runner.join().expect("thread");
        machine.serve();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
        let joined = poll(&mut handle, Waker::noop());
        assert!(
            matches!(joined, Poll::Ready(Ok(1) | Err(Aborted))),
            "{joined:?}"
        );
        drop(handle);
        machine.finish();
    });
}

/// A join against a completion: the joiner is either ready or woken.
///
/// Mutants: `JoinHandle::poll` does not look again after registering; `Core::complete` wakes before it sets COMPLETE.
#[test]
fn loom_join_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let mut handle = machine.spawn(async { 9 });
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        let count = Arc::new(CountWake(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let first = poll(&mut handle, &waker);
        runner.join().expect("thread");
        match first {
            Poll::Ready(value) => assert_eq!(value, Ok(9)),
            Poll::Pending => {
                assert_eq!(
                    count.0.load(Ordering::SeqCst),
                    1,
                    "the joiner was not woken"
                );
                assert_eq!(poll(&mut handle, &waker), Poll::Ready(Ok(9)));
            }
        }
        drop(handle);
        machine.finish();
    });
}

/// The handle closed against a completion: the output is dropped once.
///
/// Mutants: `JoinHandle::close` drops the output whenever OUTPUT is set later; `Core::complete` ignores JOIN.
#[test]
fn loom_detach_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = OnDrop(drops.clone());
        let handle = machine.spawn(async move { output });
        let other = machine.clone();
        let runner = thread::spawn(move || other.serve());
        handle.detach();
        runner.join().expect("thread");
        machine.finish();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

/// The last wakers dropped against a completion: the block is freed once, by a run.
///
/// Mutants: `Header::release` frees nothing when it is the last; `Core::step` does not look for blocks without references;
/// `Core::complete` keeps the executor's reference.
#[test]
fn loom_last_drop_against_complete() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        probe.done.store(1, Ordering::SeqCst);
        waker.wake_by_ref();
        let dropper = thread::spawn(move || drop(waker));
        machine.serve();
        dropper.join().expect("thread");
        machine.finish();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
    });
}

/// A shutdown against a wake: the future is dropped and everything is freed.
///
/// Mutants: `Core::run` looks for a sweep only once, at its start; `RunQueue::take` drops the
/// PENDED tag without looking again.
#[test]
fn loom_shutdown_against_wake() {
    // Bounded: the sweep makes the full space three minutes long.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        let waking = thread::spawn(move || waker.wake());
        machine.0.close();
        machine.serve();
        waking.join().expect("thread");
        *probe.waker.lock().expect("lock") = None;
        machine.finish();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1);
    });
}

/// A shutdown against the last waker's drop, with nobody waking: the shutdown alone makes the executor run.
///
/// Mutants: `CoreHead::sweep` does not kick; `RunQueue::kick` says that no pend is needed.
#[test]
fn loom_shutdown_against_waker_drop() {
    loom::model(|| {
        let machine = Machine::new();
        let probe = Probe::default();
        machine.spawn(probe.future()).detach();
        machine.serve();
        let waker = probe.take();
        let dropping = thread::spawn(move || drop(waker));
        machine.0.close();
        machine.serve();
        assert_eq!(probe.drops.load(Ordering::SeqCst), 1, "nobody ran");
        dropping.join().expect("thread");
        machine.finish();
    });
}
