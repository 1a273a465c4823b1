// SPDX-License-Identifier: BSD-2-Clause
//! [`RunQueue`]: the one word through which every waker and the runner of an executor meet.
//!
//! ```text
//!   word = address of the newest task | PENDED | RUNNING
//!
//!              push, kick (1)                start (2)
//!      IDLE  ───────────────▶  PENDED/tasks ───────────▶  RUNNING ◀─┐ take (3), push, kick
//!       ▲ 0                    run was asked for             │   │  └─┘
//!       │                            ▲                       │   │
//!       │          pause (5)         └───────────────────────┘   │
//!       └────────────────────────── finish (4) ──────────────────┘
//! ```
//!
//! 1. `push`/`kick` by anyone: the caller that leaves IDLE, and no other, must pend.
//! 2. `start` by a would-be runner: takes all tasks. Fails when RUNNING: an executor never runs twice at once.
//! 3. `take` by the runner: takes all tasks that came meanwhile in one swap.
//! 4. `finish` by the runner: fails when anything came; the runner goes on.
//! 5. `pause` by the runner whose budget is used up: stays pended; the runner must pend.
//!
//! Fairness: a batch is taken whole and run oldest first, and what is pushed during a batch is in the next one, so no task is
//! polled twice before every ready one was polled once. A producer stopped between any two instructions has either published its
//! task or not: the runner never waits for it.
#![expect(unsafe_code, reason = "an intrusive list of raw task headers")]

use core::ptr::{NonNull, null_mut};

use crate::atomic::{AtomicPtr, Ordering};
use crate::task::Header;

const RUNNING: usize = 1;
const PENDED: usize = 2;
const TAGS: usize = RUNNING | PENDED;

/// What the runner took: oldest first.
pub(crate) struct Taken {
    pub(crate) first: *mut Header,
    pub(crate) last: *mut Header,
}

/// The executor runs already.
#[derive(Debug)]
pub(crate) struct Busy;

pub(crate) struct RunQueue(AtomicPtr<Header>);

fn tags(word: *mut Header) -> usize {
    word.addr() & TAGS
}

fn tasks(word: *mut Header) -> *mut Header {
    word.map_addr(|address| address & !TAGS)
}

fn tagged(tasks: *mut Header, tags: usize) -> *mut Header {
    tasks.map_addr(|address| address | tags)
}

impl RunQueue {
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }
    #[cfg(any(loom, shuttle))]
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Transition 1 with a task; true when the caller must pend.
    ///
    /// # Safety
    /// The caller has the exclusive right to queue `task`, which stays alive until the runner has taken it.
    pub(crate) unsafe fn push(&self, task: NonNull<Header>) -> bool {
        // SAFETY: by contract.
        unsafe { self.push_from_idle(task, &mut || ()) }
    }

    /// As [`Self::push`]; calls `idle` before each attempt to leave IDLE.
    ///
    /// # Safety
    /// As [`Self::push`].
    #[inline]
    pub(crate) unsafe fn push_from_idle(
        &self,
        task: NonNull<Header>,
        idle: &mut impl FnMut(),
    ) -> bool {
        // SAFETY: alive by contract.
        let link = unsafe { &task.as_ref().next };
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            if old.is_null() {
                idle();
            }
            link.store(tasks(old), Ordering::Relaxed);
            let new = tagged(task.as_ptr(), tags(old));
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return old.is_null(),
                Err(seen) => old = seen,
            }
        }
    }

    /// Transition 1 without a task; true when the caller must pend.
    pub(crate) fn kick(&self) -> bool {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = tagged(old, PENDED);
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return old.is_null(),
                Err(seen) => old = seen,
            }
        }
    }

    /// Transition 2: the tasks queued, oldest first.
    pub(crate) fn start(&self) -> Result<Taken, Busy> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            if tags(old) & RUNNING != 0 {
                return Err(Busy);
            }
            let new = tagged(null_mut(), RUNNING);
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Ok(reverse(tasks(old))),
                Err(seen) => old = seen,
            }
        }
    }

    /// Transition 3: the tasks that came since, oldest first. By the runner only.
    pub(crate) fn take(&self) -> Taken {
        reverse(tasks(
            self.0.swap(tagged(null_mut(), RUNNING), Ordering::Acquire),
        ))
    }

    /// Whether nothing came since the last `start` or `take`, as it seems. By the runner only.
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.load(Ordering::Relaxed) == tagged(null_mut(), RUNNING)
    }

    /// Transition 4; false when something came. By the runner only, with nothing left to run.
    pub(crate) fn finish(&self) -> bool {
        self.0
            .compare_exchange(
                tagged(null_mut(), RUNNING),
                null_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Transition 5. By the runner only, who pends next.
    pub(crate) fn pause(&self) {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = tagged(tasks(old), PENDED);
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(seen) => old = seen,
            }
        }
    }

    /// Whether nothing is queued, asked for or running.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire).is_null()
    }

    pub(crate) fn is_running(&self) -> bool {
        tags(self.0.load(Ordering::Acquire)) & RUNNING != 0
    }
}

/// Turns a taken stack into a queue.
fn reverse(newest: *mut Header) -> Taken {
    let (mut list, mut done) = (newest, null_mut());
    while let Some(task) = NonNull::new(list) {
        // SAFETY: taken tasks belong to the runner and are alive.
        let link = unsafe { &task.as_ref().next };
        list = link.load(Ordering::Relaxed);
        link.store(done, Ordering::Relaxed);
        done = task.as_ptr();
    }
    Taken {
        first: done,
        last: newest,
    }
}
