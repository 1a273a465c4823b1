// SPDX-License-Identifier: BSD-2-Clause
//! Callbacks into other drivers, made outside any poll.
//!
//! The store task may not call foreign code: a callback that asks for the store again would find the
//! task running. So the task queues what is to be told here and a DPC of its own makes the calls.
//! Room is reserved when a request or watch with a callback is made, so queuing cannot fail.
//! `<= DISPATCH_LEVEL`. [`Delivery::stop`] at PASSIVE_LEVEL waits for the DPC.

use kexec::nt::{Arc, Dpc, SpinLock, Vec};
use kexec::{Passive, Result};

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

/// Callbacks made in one DPC.
const BUDGET: usize = 32;

/// The queue of callbacks.
pub struct Delivery {
    jobs: SpinLock<Jobs>,
    /// Refers to this object; taken out by `stop`, which ends the circle.
    dpc: SpinLock<Option<Dpc>>,
}

impl Delivery {
    /// An empty queue and its DPC. [`stop`](Self::stop) must be called before the last reference goes.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn try_new() -> Result<Arc<Self>> {
        let this = Arc::try_new(
            TAG,
            Self {
                jobs: SpinLock::new(Jobs {
                    waiting: Vec::new(TAG),
                    reserved: 0,
                }),
                dpc: SpinLock::new(None),
            },
        )?;
        let inner = this.clone();
        let dpc = Dpc::try_new(TAG, None, move || {
            if inner.run(BUDGET) {
                inner.pend();
            }
        })?;
        *this.dpc.lock() = Some(dpc);
        Ok(this)
    }

    /// Ends delivery: what is queued is forgotten, no callback runs or comes once this returns.
    pub fn stop(&self, _passive: Passive) {
        let dpc = self.dpc.lock().take();
        // Waits until it runs nowhere.
        drop(dpc);
        while let Some(job) = self.pop() {
            drop(job);
        }
    }

    fn pend(&self) {
        if let Some(dpc) = &*self.dpc.lock() {
            dpc.queue();
        }
    }

    fn pop(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        (!jobs.waiting.is_empty()).then(|| jobs.waiting.remove(0))
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
        self.pend();
    }

    /// Makes up to `budget` callbacks; true when more wait. Called by the DPC, never from a poll.
    pub fn run(&self, budget: usize) -> bool {
        for _ in 0..budget {
            match self.pop() {
                Some(Job::Request(request)) => request.deliver(),
                Some(Job::Watch(node)) => node.deliver(),
                None => return false,
            }
        }
        !self.jobs.lock().waiting.is_empty()
    }
}
