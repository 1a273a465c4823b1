// SPDX-License-Identifier: BSD-2-Clause
//! The software queue between callers and the store task.
//!
//! Requests are linked through themselves, so queuing needs no memory. Each caller has a lane: order
//! is kept within a lane, and lanes take turns, so that a caller with a thousand requests outstanding
//! keeps nobody else waiting for more than a few of them.
//!
//! Who awaits a reply waits for its place too and is never refused: what is queued on its behalf is
//! the block that it made and waits for. Callers that may not wait, and requests that nobody waits
//! for, are held to a limit and get `INSUFFICIENT_RESOURCES` over it. Cleaning up (END, UNWATCH) is
//! always admitted, so that tearing down proceeds. `<= DISPATCH_LEVEL`.

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::nt::{Arc, SpinLock};
use kexec::{Instant, Result, Status};

use super::chain::Chain;
use super::request::{QUEUED, Request};
use crate::status;

/// Who submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A caller that may not wait.
    Synchronous = 0,
    /// A future, or a completion.
    Waiting = 1,
    /// Nobody hears of the result.
    Detached = 2,
    /// Gives something back; never refused for want of room.
    Cleanup = 3,
}

impl Admission {
    /// The one with this number.
    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Synchronous,
            2 => Self::Detached,
            3 => Self::Cleanup,
            _ => Self::Waiting,
        }
    }
}

/// Most requests queued on behalf of callers that may not wait.
pub const SYNCHRONOUS_LIMIT: usize = 256;
/// Most requests queued that nobody waits for.
pub const DETACHED_LIMIT: usize = 1024;
/// Lanes; callers beyond share them.
pub const LANES: usize = 16;

struct List {
    lanes: [Chain<Request, QUEUED>; LANES],
    /// Bit n: lane n is not empty.
    ready: u32,
    /// The lane that was served last.
    served: u32,
    /// Of these, on behalf of callers that may not wait, and of nobody.
    limited: [usize; 2],
    closed: Option<Status>,
    /// Cleaning up is admitted although the queue is closed.
    cleanup: bool,
}

/// The queue.
pub struct Queue {
    list: SpinLock<List>,
    /// Requests in the list. Written under its lock, and read without by the task, which is kicked after each push.
    count: AtomicUsize,
}

/// The count that an admission is held to, and its limit.
fn limit(admission: Admission) -> Option<(usize, usize)> {
    match admission {
        Admission::Synchronous => Some((0, SYNCHRONOUS_LIMIT)),
        Admission::Detached => Some((1, DETACHED_LIMIT)),
        Admission::Waiting | Admission::Cleanup => None,
    }
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: SpinLock::new(List {
                lanes: [const { Chain::new() }; LANES],
                ready: 0,
                served: 0,
                limited: [0; 2],
                closed: None,
                cleanup: false,
            }),
            count: AtomicUsize::new(0),
        }
    }

    /// Appends a request to its caller's lane.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES` over the caller's limit; the status that the queue was closed with.
    pub fn push(&self, request: &Arc<Request>, admission: Admission, now: Instant) -> Result {
        let mut list = self.list.lock();
        let cleanup = list.cleanup && admission == Admission::Cleanup;
        if let Some(status) = list.closed.filter(|_| !cleanup) {
            return Err(status);
        }
        if let Some((class, most)) = limit(admission) {
            if list.limited[class] >= most {
                return Err(status::INSUFFICIENT_RESOURCES);
            }
            list.limited[class] += 1;
        }
        request.admit(admission, now);
        let lane = usize::from(request.lane()) % LANES;
        list.lanes[lane].push(request.clone());
        list.ready |= 1 << lane;
        self.count.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Puts a request back that was taken, in front of its lane, closed or not.
    pub fn put_back(&self, request: &Arc<Request>) {
        let mut list = self.list.lock();
        let lane = usize::from(request.lane()) % LANES;
        if let Some((class, _)) = limit(request.admission()) {
            list.limited[class] += 1;
        }
        list.lanes[lane].push_front(request.clone());
        list.ready |= 1 << lane;
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Puts requests back that were [taken](Self::pop_many) last, the first of them to be the next again.
    pub fn put_back_all(&self, mut taken: Chain<Request, QUEUED>) {
        let Some(first) = taken.head().map(|head| u32::from(head.lane())) else {
            return;
        };
        let mut last_first = Chain::<_, QUEUED>::new();
        while let Some(request) = taken.pop() {
            last_first.push_front(request);
        }
        while let Some(request) = last_first.pop() {
            self.put_back(&request);
        }
        let lanes = LANES as u32;
        self.list.lock().served = (first + lanes - 1) % lanes;
    }

    /// Takes the oldest request of the lane whose turn it is.
    pub fn pop(&self) -> Option<Arc<Request>> {
        if self.is_empty() {
            return None;
        }
        let request = self.list.lock().pop()?;
        self.count.fetch_sub(1, Ordering::Release);
        Some(request)
    }

    /// Takes up to `most` requests, one after the other as [`pop`](Self::pop) does.
    pub fn pop_many(&self, most: usize) -> Chain<Request, QUEUED> {
        let mut taken = Chain::new();
        if self.is_empty() {
            return taken;
        }
        let mut list = self.list.lock();
        for count in 0..most {
            let Some(request) = list.pop() else {
                self.count.fetch_sub(count, Ordering::Release);
                return taken;
            };
            taken.push(request);
        }
        self.count.fetch_sub(most, Ordering::Release);
        taken
    }

    /// Takes the oldest request of any lane that was submitted at or before `time`.
    pub fn pop_until(&self, time: Instant) -> Option<Arc<Request>> {
        let mut list = self.list.lock();
        let lane = list
            .lanes
            .iter()
            .position(|lane| lane.head().is_some_and(|head| head.submitted() <= time))?;
        let request = list.take(u32::try_from(lane).ok()?)?;
        self.count.fetch_sub(1, Ordering::Release);
        Some(request)
    }

    /// Requests queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
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

impl List {
    fn pop(&mut self) -> Option<Arc<Request>> {
        // Lanes after the one served last come first.
        let after = self.ready & !((2u32 << self.served) - 1);
        let lane = match (after, self.ready) {
            (_, 0) => return None,
            (0, ready) => ready.trailing_zeros(),
            (after, _) => after.trailing_zeros(),
        };
        self.served = lane;
        self.take(lane)
    }

    fn take(&mut self, lane: u32) -> Option<Arc<Request>> {
        let chain = self.lanes.get_mut(lane as usize)?;
        let request = chain.pop()?;
        if chain.is_empty() {
            self.ready &= !(1 << lane);
        }
        if let Some((class, _)) = limit(request.admission()) {
            self.limited[class] -= 1;
        }
        Some(request)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
