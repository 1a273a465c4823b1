// SPDX-License-Identifier: BSD-2-Clause
//! Callbacks into other drivers, made outside any poll.
//!
//! The store task may not call foreign code: a callback that asks for the store again would find the
//! task running. So the task queues what is to be told here and a DPC of its own makes the calls.
//! Room is reserved when a request or watch with a callback is made, so queuing cannot fail.
//! `<= DISPATCH_LEVEL`. Stops with its DPC: flushed by the owner at PASSIVE_LEVEL.

use kexec::Result;
use kexec::nt::{Arc, SpinLock, Vec};

use super::request::{Request, TAG};
use super::watch::Node;

/// What is to be told to whom.
pub enum Job {
    /// A request is done.
    Request(Arc<Request>),
    /// A watch fired.
    Watch(Arc<Node>),
}

struct Jobs {
    /// Waiting, oldest first.
    waiting: Vec<Job>,
    /// Places promised.
    reserved: usize,
}

/// Starts the DPC: a function and its argument. Called at `<= DISPATCH_LEVEL`.
pub type Pend = (fn(usize), usize);

/// The queue of callbacks.
pub struct Delivery {
    jobs: SpinLock<Jobs>,
    pend: SpinLock<Option<Pend>>,
}

impl Delivery {
    /// An empty queue that starts nothing yet.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn try_new() -> Result<Arc<Self>> {
        Arc::try_new(
            TAG,
            Self {
                jobs: SpinLock::new(Jobs {
                    waiting: Vec::new(TAG),
                    reserved: 0,
                }),
                pend: SpinLock::new(None),
            },
        )
    }

    /// Says how to start the DPC that calls [`run`](Self::run).
    pub fn connect(&self, pend: fn(usize), context: usize) {
        *self.pend.lock() = Some((pend, context));
    }

    /// Nothing is started any more.
    pub fn disconnect(&self) {
        *self.pend.lock() = None;
    }

    /// Promises room for one more job.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn reserve(&self) -> Result {
        let mut jobs = self.jobs.lock();
        let want = jobs.reserved + 1;
        let have = jobs.waiting.len();
        jobs.waiting.try_reserve(want.saturating_sub(have))?;
        jobs.reserved = want;
        Ok(())
    }

    /// Gives a promise back, once its job has been made or never will.
    pub fn unreserve(&self) {
        let mut jobs = self.jobs.lock();
        jobs.reserved = jobs.reserved.saturating_sub(1);
    }

    pub(super) fn push(&self, job: Job) {
        // Cannot fail: each job has a reserved place. If the promise was broken the job is dropped.
        let kept = self.jobs.lock().waiting.try_push(job);
        if kept.is_err() {
            kexec::error!("store: lost a callback, no room reserved");
        }
        let pend = *self.pend.lock();
        if let Some((pend, context)) = pend {
            pend(context);
        }
    }

    /// Makes up to `budget` callbacks; true when more wait. Called by the DPC, never from a poll.
    pub fn run(&self, budget: usize) -> bool {
        for _ in 0..budget {
            let job = {
                let mut jobs = self.jobs.lock();
                if jobs.waiting.is_empty() {
                    return false;
                }
                jobs.waiting.remove(0)
            };
            match job {
                Job::Request(request) => request.deliver(),
                Job::Watch(node) => node.deliver(),
            }
        }
        !self.jobs.lock().waiting.is_empty()
    }
}
