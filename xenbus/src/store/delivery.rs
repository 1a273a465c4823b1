// SPDX-License-Identifier: BSD-2-Clause
//! Callbacks into other drivers, made outside any poll.
//!
//! The store task may not call foreign code: a callback that asks for the store again would find the
//! task running. So the task lists what is to be told here, linked through itself so that listing
//! cannot fail, hands the list over at the end of its turn, and a DPC of its own makes the calls: one DPC for all that a turn completed.
//! `<= DISPATCH_LEVEL`. [`Delivery::stop`] at PASSIVE_LEVEL waits for the DPC.

use kexec::nt::{Arc, Dpc, SpinLock};
use kexec::{Passive, Result};

use super::chain::Chain;
use super::request::{Request, TAG, TOLD};
use super::watch::Node;

/// What is to be told to whom.
pub enum Job {
    /// A request is done.
    Request(Arc<Request>),
    /// A watch fired.
    Watch(Arc<Node>),
}

/// Callbacks to make, in their order: what the task collects in a turn, and what waits for the DPC.
#[derive(Default)]
pub struct Lists {
    requests: Chain<Request, TOLD>,
    watches: Chain<Node>,
    /// Whose turn it is: neither kind keeps the other waiting.
    watch_next: bool,
}

impl Lists {
    /// Appends one.
    pub(super) fn push(&mut self, job: Job) {
        match job {
            Job::Request(request) => self.requests.push(request),
            Job::Watch(node) => self.watches.push(node),
        }
    }

    /// Appends what is in `others`, which is empty then.
    fn append(&mut self, others: &mut Self) {
        self.requests.append(core::mem::take(&mut others.requests));
        self.watches.append(core::mem::take(&mut others.watches));
    }

    fn pop(&mut self) -> Option<Job> {
        self.watch_next = !self.watch_next;
        let watch = self.watch_next && !self.watches.is_empty() || self.requests.is_empty();
        if watch {
            self.watches.pop().map(Job::Watch)
        } else {
            self.requests.pop().map(Job::Request)
        }
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.watches.is_empty()
    }
}

struct Jobs {
    lists: Lists,
    /// The DPC is queued or runs, and will look again.
    pending: bool,
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
                    lists: Lists::default(),
                    pending: false,
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
        let lists = core::mem::take(&mut self.jobs.lock().lists);
        drop(lists);
    }

    fn pend(&self) {
        if let Some(dpc) = &*self.dpc.lock() {
            dpc.queue();
        }
    }

    /// Takes over what a turn has to tell.
    pub(super) fn push_all(&self, lists: &mut Lists) {
        if lists.is_empty() {
            return;
        }
        let pending = {
            let mut jobs = self.jobs.lock();
            jobs.lists.append(lists);
            core::mem::replace(&mut jobs.pending, true)
        };
        if !pending {
            self.pend();
        }
    }

    /// Makes up to `budget` callbacks; true when more may wait. Called by the DPC, never from a poll.
    pub fn run(&self, budget: usize) -> bool {
        let mut lists = core::mem::take(&mut self.jobs.lock().lists);
        for _ in 0..budget {
            match lists.pop() {
                Some(Job::Request(request)) => request.deliver(),
                Some(Job::Watch(node)) => node.deliver(),
                None => break,
            }
        }
        // What is left goes before what has come since.
        let mut jobs = self.jobs.lock();
        if !lists.is_empty() {
            lists.append(&mut jobs.lists);
            jobs.lists = lists;
        }
        jobs.pending = !jobs.lists.is_empty();
        jobs.pending
    }
}
