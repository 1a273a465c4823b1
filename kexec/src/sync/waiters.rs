// SPDX-License-Identifier: BSD-2-Clause
//! A counter of permits with a queue of waiting futures: what every many-waiter primitive of this module is made of.
//!
//! A permit is handed to the first waiter directly, so nobody overtakes. A waiter's node lies in its future; the queue's lock
//! guards all nodes in it. Wakers are taken out under the lock and woken or dropped outside it.
//!
//! ```text
//!          1 poll, no permit          2 release
//!   Idle -------------------> Queued ------------> Granted
//!    ^  ^                        |  3 drop            |
//!    |  +------------------------+                    |
//!    +------------------------------------------------+
//!                 4 poll takes it, or drop passes it on
//! ```
//! 1 [`Waiters::poll_acquire`]; 2 [`Waiters::release`], [`Waiters::grant_all`]; 3, 4 [`Acquire`]'s drop and poll.
#![expect(unsafe_code, reason = "an intrusive list of nodes inside futures")]

use core::cell::UnsafeCell;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll, Waker};

use crate::nt::SpinLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Granted,
}

/// A waiter's place in the queue.
///
/// # Invariants
/// While `state` is `Queued` the node is linked in the queue of exactly one [`Waiters`] and does not move.
/// Every field is accessed only under that queue's lock.
struct Node {
    previous: *mut Node,
    next: *mut Node,
    waker: Option<Waker>,
    state: State,
}

struct Inner {
    permits: usize,
    closed: bool,
    head: *mut Node,
    tail: *mut Node,
}

// SAFETY: the pointers are nodes of pinned futures, followed only under the lock that this is in.
unsafe impl Send for Inner {}

/// The counter and its queue. All methods: <= DISPATCH_LEVEL.
pub(super) struct Waiters {
    inner: SpinLock<Inner>,
    /// The counter never exceeds this by [`Waiters::release`].
    most: usize,
}

/// The counter was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Inner {
    fn push(&mut self, node: *mut Node) {
        // SAFETY: the caller's node, under the lock; not queued yet.
        unsafe { (*node).previous = self.tail };
        // SAFETY: as above.
        unsafe { (*node).next = ptr::null_mut() };
        if self.tail.is_null() {
            self.head = node;
        } else {
            // SAFETY: a queued node, alive by the invariant.
            unsafe { (*self.tail).next = node };
        }
        self.tail = node;
    }

    fn unlink(&mut self, node: *mut Node) {
        // SAFETY: a queued node, alive by the invariant.
        let previous = unsafe { (*node).previous };
        // SAFETY: as above.
        let next = unsafe { (*node).next };
        if previous.is_null() {
            self.head = next;
        } else {
            // SAFETY: a neighbour in the queue, alive by the invariant.
            unsafe { (*previous).next = next };
        }
        if next.is_null() {
            self.tail = previous;
        } else {
            // SAFETY: a neighbour in the queue, alive by the invariant.
            unsafe { (*next).previous = previous };
        }
    }

    /// Hands a permit to the first waiter. `None`: nobody waits.
    fn grant(&mut self) -> Option<Option<Waker>> {
        let node = self.head;
        if node.is_null() {
            return None;
        }
        self.unlink(node);
        // SAFETY: alive by the invariant until its future takes the lock.
        unsafe { (*node).state = State::Granted };
        // SAFETY: as above.
        let waker = unsafe { &mut (*node).waker };
        Some(waker.take())
    }
}

impl Waiters {
    pub(super) const fn new(permits: usize, most: usize) -> Self {
        let inner = Inner {
            permits,
            closed: false,
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
        };
        Self {
            inner: SpinLock::new(inner),
            most,
        }
    }

    /// Takes a permit if one is free; nobody can be waiting then.
    pub(super) fn try_acquire(&self) -> bool {
        let mut inner = self.inner.lock();
        let free = !inner.closed && inner.permits > 0;
        if free {
            inner.permits -= 1;
        }
        free
    }

    /// Waits for a permit.
    pub(super) fn acquire(&self) -> Acquire<'_> {
        let node = Node {
            previous: ptr::null_mut(),
            next: ptr::null_mut(),
            waker: None,
            state: State::Idle,
        };
        Acquire {
            waiters: self,
            node: UnsafeCell::new(node),
            _pinned: PhantomPinned,
        }
    }

    /// Gives one permit: to the first waiter, else to the counter.
    pub(super) fn release(&self) {
        let mut inner = self.inner.lock();
        let granted = inner.grant();
        if granted.is_none() && inner.permits < self.most {
            inner.permits += 1;
        }
        drop(inner);
        if let Some(Some(waker)) = granted {
            waker.wake();
        }
    }

    /// Gives a permit to everybody who waits, and makes the counter `permits`.
    pub(super) fn grant_all(&self, permits: usize) {
        // A waiter that is woken queues again behind the ones counted here, so the loop ends.
        let mut waiting = 0;
        {
            let mut inner = self.inner.lock();
            inner.permits = permits;
            let mut node = inner.head;
            while !node.is_null() {
                waiting += 1;
                // SAFETY: a queued node, alive by the invariant.
                node = unsafe { (*node).next };
            }
        }
        for _ in 0..waiting {
            let granted = self.inner.lock().grant();
            match granted {
                Some(Some(waker)) => waker.wake(),
                Some(None) => {}
                None => break,
            }
        }
    }

    /// The counter.
    pub(super) fn permits(&self) -> usize {
        self.inner.lock().permits
    }

    /// Makes the counter `permits`; waiters stay.
    pub(super) fn set_permits(&self, permits: usize) {
        self.inner.lock().permits = permits;
    }

    /// Fails everybody who waits or comes later.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.grant_all(0);
    }

    /// Whether [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }
}

/// Future of [`Waiters::acquire`]. Dropping it before it is ready leaves the queue; a permit that it was already given goes on to
/// the next waiter.
pub(super) struct Acquire<'a> {
    waiters: &'a Waiters,
    node: UnsafeCell<Node>,
    _pinned: PhantomPinned,
}

// SAFETY: the node is accessed only under the queue's lock, wherever the future is.
unsafe impl Send for Acquire<'_> {}

impl Future for Acquire<'_> {
    type Output = Result<(), Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let node = self.node.get();
        // Cloned before the lock is taken; an old one is dropped after it is released.
        let mut waker = Some(cx.waker().clone());
        let mut inner = self.waiters.inner.lock();
        // SAFETY: our node, under the lock.
        let state = unsafe { (*node).state };
        let ready = match state {
            State::Granted => {
                // SAFETY: our node, under the lock.
                unsafe { (*node).state = State::Idle };
                true
            }
            State::Idle if inner.closed => true,
            State::Idle if inner.permits > 0 => {
                inner.permits -= 1;
                true
            }
            State::Idle => {
                inner.push(node);
                // SAFETY: our node, under the lock; pinned, so it may be linked.
                unsafe { (*node).state = State::Queued };
                false
            }
            State::Queued => false,
        };
        let closed = inner.closed;
        if !ready {
            // SAFETY: our node, under the lock.
            let place = unsafe { &mut (*node).waker };
            core::mem::swap(place, &mut waker);
        }
        drop(inner);
        match (ready, closed) {
            (false, _) => Poll::Pending,
            (true, true) => Poll::Ready(Err(Closed)),
            (true, false) => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let node = self.node.get();
        let mut inner = self.waiters.inner.lock();
        // SAFETY: our node, under the lock.
        let state = unsafe { (*node).state };
        if state == State::Queued {
            inner.unlink(node);
        }
        let closed = inner.closed;
        drop(inner);
        if state == State::Granted && !closed {
            self.waiters.release();
        }
    }
}
