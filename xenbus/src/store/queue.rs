// SPDX-License-Identifier: BSD-2-Clause
//! The software queue between callers and the store task.
//!
//! Requests are linked through themselves, so queuing needs no memory. Callers that may not wait are
//! held to a small limit and get `INSUFFICIENT_RESOURCES` over it; futures are held to a large one;
//! cleaning up (END, UNWATCH) is always admitted, so that tearing down proceeds. Order is kept: what
//! one caller submits goes out in that order. `<= DISPATCH_LEVEL`.

use kexec::nt::{Arc, SpinLock};
use kexec::{Instant, Result, Status};

use super::request::{Phase, Request};
use crate::status;

/// Who submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A caller that may not wait.
    Synchronous,
    /// A future.
    Waiting,
    /// Gives something back; never refused for want of room.
    Cleanup,
}

/// Most requests queued on behalf of callers that may not wait.
pub const SYNCHRONOUS_LIMIT: usize = 256;
/// Most requests queued on behalf of futures.
pub const WAITING_LIMIT: usize = 8192;
/// Most payload bytes queued.
pub const BYTES_LIMIT: usize = 4 << 20;

struct List {
    head: Option<Arc<Request>>,
    tail: Option<Arc<Request>>,
    count: usize,
    bytes: usize,
    closed: Option<Status>,
    /// Cleaning up is admitted although the queue is closed.
    cleanup: bool,
}

/// The queue.
pub struct Queue {
    list: SpinLock<List>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: SpinLock::new(List {
                head: None,
                tail: None,
                count: 0,
                bytes: 0,
                closed: None,
                cleanup: false,
            }),
        }
    }

    /// Appends a request.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES` over the caller's limit; the status that the queue was closed with.
    pub fn push(&self, request: &Arc<Request>, admission: Admission, now: Instant) -> Result {
        let bytes = request.body_len();
        let mut list = self.list.lock();
        let cleanup = list.cleanup && admission == Admission::Cleanup;
        if let Some(status) = list.closed.filter(|_| !cleanup) {
            return Err(status);
        }
        let limit = match admission {
            Admission::Synchronous => SYNCHRONOUS_LIMIT,
            Admission::Waiting => WAITING_LIMIT,
            Admission::Cleanup => usize::MAX,
        };
        let full = list.count >= limit || list.bytes + bytes > BYTES_LIMIT;
        if full && admission != Admission::Cleanup {
            return Err(status::INSUFFICIENT_RESOURCES);
        }
        {
            let mut state = request.state.lock();
            state.phase = Phase::Queued;
            state.submitted = now;
        }
        match list.tail.replace(request.clone()) {
            Some(tail) => tail.state.lock().next = Some(request.clone()),
            None => list.head = Some(request.clone()),
        }
        list.count += 1;
        list.bytes += bytes;
        Ok(())
    }

    /// Takes the oldest request.
    pub fn pop(&self) -> Option<Arc<Request>> {
        let mut list = self.list.lock();
        let head = list.head.take()?;
        list.head = head.state.lock().next.take();
        if list.head.is_none() {
            list.tail = None;
        }
        list.count -= 1;
        list.bytes = list.bytes.saturating_sub(head.body_len());
        Some(head)
    }

    /// When the oldest request was submitted.
    pub fn oldest(&self) -> Option<Instant> {
        let list = self.list.lock();
        list.head.as_ref().map(|head| head.state.lock().submitted)
    }

    /// Requests queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.lock().count
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses further requests with `status`. What is queued stays for [`pop`](Self::pop).
    pub fn close(&self, status: Status) {
        let mut list = self.list.lock();
        list.closed = Some(status);
        list.cleanup = false;
    }

    /// Refuses further requests with `status`, but goes on admitting those that clean up.
    pub fn close_to_callers(&self, status: Status) {
        let mut list = self.list.lock();
        if list.closed.is_none() {
            list.closed = Some(status);
            list.cleanup = true;
        }
    }

    /// Admits requests again.
    pub fn reopen(&self) {
        self.list.lock().closed = None;
    }

    /// The status that requests are refused with, if they are.
    #[must_use]
    pub fn closed(&self) -> Option<Status> {
        self.list.lock().closed
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // One by one: a chain that frees itself link by link would use the stack.
        while self.pop().is_some() {}
    }
}
