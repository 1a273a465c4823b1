// SPDX-License-Identifier: BSD-2-Clause
//! One request: the bytes it sends, the reply it gets, and who hears of it.
//!
//! A request is one pool block that owns its bytes and is shared by its caller and the store task.
//! The caller may lose interest at any time; what the daemon was told is then undone by the task.
//!
//! ```text
//!            1 submit          2 start           3 finish
//!   Idle ------------> Queued ---------> Sent -----------> Done
//!     ^                  |  4 skip         |                 |
//!     |                  +-----------------|-----> Done      |
//!     +--------- 5 reuse (undo) -----------+-----------------+
//! ```
//! Only Done is written down, the others are where the request is. 1 [`Queue::push`](super::queue::Queue::push), 2 and 4 the
//! engine takes it from the queue, 3
//! [`Request::finish`], 5 [`Request::claim`] or the undo in 3: a finished START becomes END, a WATCH becomes UNWATCH,
//! in the same block, so that cleaning up never needs memory.
//!
//! `<= DISPATCH_LEVEL`; the lock inside is held for copies of at most 4096 bytes, never across a wake.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use kexec::nt::{Arc, Box, Link, SpinLock, Tag};
use kexec::sync::{OneCall, WakerSlot};
use kexec::{Instant, Result, Status};

use super::bytes::{Bytes, INLINE};
use super::chain::Linked;
use super::listing::{Listing, Part};
use super::queue::Admission;
use super::shared::Shared;
use super::wire::{self, Kind};
use crate::status;

/// Place of a request in chains of the queue.
pub(super) const QUEUED: usize = 0;
/// Place of a request in chains of the delivery.
pub(super) const TOLD: usize = 1;

/// Pool tag of everything that the store allocates.
pub const TAG: Tag = Tag(*b"XBst");

/// A call to make outside any poll: into another driver.
///
/// `routine` and `context` mean something to `call` only, which the C edge provides.
#[derive(Clone, Copy)]
pub struct Callback {
    /// Makes the call, with the status and, on success, the reply.
    pub call: fn(&Self, Result<&[u8]>),
    /// For `call`.
    pub routine: usize,
    /// For `call`.
    pub context: usize,
}

/// What the engine has to know of a request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) kind: Kind,
    pub(super) tx_id: u32,
    /// The connection that the transaction belongs to.
    pub(super) epoch: u32,
    /// Payload bytes.
    pub(super) len: u32,
}

/// What the engine does with a finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The future that waits has been woken, or nobody needs to hear of it.
    Nothing,
    /// A callback is to be made, outside any poll.
    Deliver,
    /// A watch was not registered: its node is to be told.
    Refused(Status),
    /// Nobody waits and the daemon has something of ours: the request was rearmed to undo it.
    Undo,
    /// The reply was one part of a long list: the request was rearmed to ask for the next.
    More,
}

pub(super) struct State {
    /// Has a result. Before that it is where it is: with its owner, in the queue, in the window.
    done: bool,
    pub(super) kind: Kind,
    pub(super) tx_id: u32,
    /// The connection that the transaction belongs to.
    pub(super) epoch: u32,
    orphan: bool,
    deliver: bool,
    result: Result,
    body: Bytes,
    /// The parts so far of a list that does not fit one reply.
    listing: Option<Box<Listing>>,
}

impl Linked for Request {
    fn link(&self, place: usize) -> &Link<Self> {
        if place == QUEUED {
            &self.queued
        } else {
            &self.told_next
        }
    }
}

/// One request; see the module.
pub struct Request {
    pub(super) state: SpinLock<State>,
    waker: WakerSlot,
    /// The link in the queue.
    queued: Link<Request>,
    /// The link in the delivery: a started transaction whose caller is still to be told may be queued again, to end it.
    told_next: Link<Request>,
    /// The lane of the caller.
    lane: AtomicU8,
    /// How the request was admitted to the queue: the queue's.
    admission: AtomicU8,
    /// When it was submitted, in ticks: the queue's.
    submitted: AtomicU64,
    /// Who is told, once.
    callback: Option<Callback>,
    told: OneCall,
    /// The connection, for a request that is given back by itself.
    owner: Link<Shared>,
}

impl Request {
    /// A request with the payload `parts`.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE`, `NO_MEMORY`.
    #[cfg(test)]
    pub fn try_new(kind: Kind, tx_id: u32, epoch: u32, parts: &[&[u8]]) -> Result<Arc<Self>> {
        Self::with_callback(kind, (tx_id, epoch), parts, None)
    }

    /// A request whose result goes to a callback.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE`, `NO_MEMORY`.
    pub(super) fn with_callback(
        kind: Kind,
        (tx_id, epoch): (u32, u32),
        parts: &[&[u8]],
        callback: Option<Callback>,
    ) -> Result<Arc<Self>> {
        let body = Bytes::join(parts)?;
        Arc::try_new(
            TAG,
            Self {
                state: SpinLock::new(State {
                    done: false,
                    kind,
                    tx_id,
                    epoch,
                    orphan: false,
                    deliver: callback.is_some(),
                    result: Ok(()),
                    body,
                    listing: None,
                }),
                waker: WakerSlot::new(),
                queued: Link::new(),
                told_next: Link::new(),
                lane: AtomicU8::new(0),
                admission: AtomicU8::new(Admission::Waiting as u8),
                submitted: AtomicU64::new(0),
                callback,
                told: OneCall::new(),
                owner: Link::new(),
            },
        )
        .map_err(status::no_memory)
    }

    /// Lets go of what a finished request keeps, so that its block can wait for [`Self::renew`].
    pub(super) fn clear(&mut self) {
        let state = self.state.get_mut();
        if matches!(state.body, Bytes::Heap(_)) {
            state.body = Bytes::EMPTY;
        }
        state.listing = None;
        self.callback = None;
        drop((self.waker.take(), self.owner.take()));
    }

    /// Makes a [cleared](Self::clear) block a new request; it stays as it is on an error.
    ///
    /// # Errors
    /// As [`Self::try_new`].
    pub(super) fn renew(
        &mut self,
        kind: Kind,
        (tx_id, epoch): (u32, u32),
        parts: &[&[u8]],
        callback: Option<Callback>,
    ) -> Result {
        let state = self.state.get_mut();
        state.body.fill(parts)?;
        state.done = false;
        state.kind = kind;
        state.tx_id = tx_id;
        state.epoch = epoch;
        state.orphan = false;
        state.deliver = callback.is_some();
        state.result = Ok(());
        self.callback = callback;
        self.told = OneCall::new();
        Ok(())
    }

    /// Puts the request on the lane of its caller.
    pub(crate) fn set_lane(&self, lane: u8) {
        self.lane.store(lane, Ordering::Relaxed);
    }

    /// The lane.
    pub(super) fn lane(&self) -> u8 {
        self.lane.load(Ordering::Relaxed)
    }

    /// Remembers how and when the request was admitted. The queue's, under its lock.
    pub(super) fn admit(&self, admission: Admission, now: Instant) {
        self.admission.store(admission as u8, Ordering::Relaxed);
        self.submitted.store(now.ticks(), Ordering::Relaxed);
    }

    /// When the request was admitted. The queue's, under its lock.
    pub(super) fn submitted(&self) -> Instant {
        Instant::from_ticks(self.submitted.load(Ordering::Relaxed))
    }

    /// How the request was admitted. The queue's, under its lock.
    pub(super) fn admission(&self) -> Admission {
        Admission::from_number(self.admission.load(Ordering::Relaxed))
    }

    /// Remembers the connection until the request is given back or has nothing to give back.
    pub(crate) fn set_owner(&self, owner: &Arc<Shared>) {
        self.owner.set(owner.clone());
    }

    /// The connection, once.
    pub(crate) fn take_owner(&self) -> Option<Arc<Shared>> {
        self.owner.take()
    }

    /// The slot of the future that waits for this request.
    pub fn waker(&self) -> &WakerSlot {
        &self.waker
    }

    /// The result, once there is one. The body moves to the caller.
    pub fn take_result(&self) -> Option<Result<Bytes>> {
        self.state.lock().take_result()
    }

    /// Whether the request has a result.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state.lock().done
    }

    /// Nobody waits any more.
    pub fn orphan(&self) {
        self.state.lock().orphan = true;
    }

    /// Takes the request off the queue and shows it with its payload to `send`: `None` when nobody wants it any more and nothing
    /// was sent.
    pub(super) fn start<R>(&self, send: impl FnOnce(Started, &[u8]) -> R) -> Option<R> {
        let mut state = self.state.lock();
        // A clean-up is wanted by the daemon's bookkeeping even if nobody waits for it.
        let skip = state.orphan && !matches!(state.kind, Kind::UNWATCH | Kind::TRANSACTION_END);
        state.done = skip;
        if skip {
            state.result = Err(status::CANCELLED);
            return None;
        }
        let started = Started {
            kind: state.kind,
            tx_id: state.tx_id,
            epoch: state.epoch,
            len: u32::try_from(state.body.len()).unwrap_or(u32::MAX),
        };
        Some(send(started, &state.body))
    }

    /// Runs `f` over the payload to send.
    pub(super) fn with_body<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.state.lock().body)
    }

    /// Settles the request with the daemon's reply, or with what became of it.
    pub(super) fn finish(&self, reply: Result<&[u8]>) -> After {
        let mut state = self.state.lock();
        // Already settled by a time-out: the late reply only tells what there is to undo.
        let late = state.done;
        let reply = match state.list(reply, late) {
            Listed::No => reply,
            Listed::More => return After::More,
            Listed::Failed(status) => Err(status),
            Listed::Whole => Ok(&[][..]),
        };
        let outcome = match reply {
            Ok(payload) => state.accept(payload, late),
            Err(status) => Err(status),
        };
        if !late {
            state.done = true;
            state.result = outcome.map(|_| ());
        }
        let undo = (state.orphan || late) && state.undo(outcome);
        let deliver = state.deliver && !late;
        let refused = outcome.err().filter(|_| state.kind == Kind::WATCH);
        drop(state);
        if !late {
            self.waker.wake();
        }
        match refused {
            Some(status) => After::Refused(status),
            None if undo => After::Undo,
            None if deliver => After::Deliver,
            None => After::Nothing,
        }
    }

    /// Makes the callback of a finished request, unless it was taken away.
    ///
    /// A started transaction is told by its identity: connection and id.
    pub(super) fn deliver(&self) {
        let Some(callback) = &self.callback else {
            return;
        };
        self.told.make(|| {
            let result = {
                let mut state = self.state.lock();
                match state.started() {
                    Some(id) => Some(Bytes::join(&[&identity(id, state.epoch).to_le_bytes()])),
                    None => state.take_result(),
                }
            };
            if let Some(result) = result {
                (callback.call)(callback, result.as_deref().map_err(|status| *status));
            }
        });
    }

    /// Takes the callback away: once this returns it is not running and never will. True when it had
    /// not been made.
    ///
    /// Not from a callback of this request.
    pub(crate) fn disarm(&self) -> bool {
        self.callback.is_some() && self.told.call_off()
    }

    /// Takes a request that succeeded as `from` for use as `to`, in one step.
    ///
    /// Exactly one claimant wins; the winner submits the request. With `abandon`, a request that is
    /// still under way is marked so that the task undoes it.
    pub(crate) fn claim(&self, from: Kind, to: Kind, abandon: bool) -> bool {
        let mut state = self.state.lock();
        if state.kind != from {
            return false;
        }
        if !state.done {
            state.orphan |= abandon;
            return false;
        }
        if state.result.is_err() {
            return false;
        }
        state.done = false;
        state.kind = to;
        state.orphan = false;
        state.deliver = false;
        true
    }

    /// Nobody waits any more. A START whose transaction is open becomes its end, to be submitted by
    /// the caller: true. One that is on its way is undone by the task.
    pub(crate) fn abandon_start(&self) -> bool {
        let mut state = self.state.lock();
        let open = state.done && state.result.is_ok() && state.kind == Kind::TRANSACTION_START;
        let started = state.body.first_chunk::<4>().copied().filter(|_| open);
        let Some(id) = started else {
            state.orphan = true;
            return false;
        };
        state.undo(Ok(u32::from_le_bytes(id)))
    }

    /// Makes a claimed request the end of transaction `tx_id`.
    pub(crate) fn set_end(&self, tx_id: u32, commit: bool) {
        let mut state = self.state.lock();
        state.tx_id = tx_id;
        state.body = end_body(commit);
    }

    /// The transaction that a finished START opened.
    pub(crate) fn started(&self) -> Option<u32> {
        self.state.lock().started()
    }
}

/// A transaction as other drivers name it: never zero, and stale after a reconnection.
pub(super) fn identity(id: u32, epoch: u32) -> u64 {
    (u64::from(epoch) << 32) | u64::from(id)
}

/// The payload that ends a transaction.
fn end_body(commit: bool) -> Bytes {
    let mut bytes = [0; INLINE];
    bytes[0] = if commit { b'T' } else { b'F' };
    Bytes::Inline { len: 2, bytes }
}

/// What a reply means for a list in parts.
enum Listed {
    /// There is none.
    No,
    /// The next part is to be asked for.
    More,
    /// That was the last part.
    Whole,
    /// It cannot be had.
    Failed(Status),
}

impl State {
    /// See [`Request::take_result`].
    fn take_result(&mut self) -> Option<Result<Bytes>> {
        if !self.done {
            return None;
        }
        Some(match self.result {
            // A WATCH keeps its body, it is what UNWATCH sends; a START keeps the id.
            Ok(()) if matches!(self.kind, Kind::WATCH | Kind::TRANSACTION_START) => {
                Ok(Bytes::EMPTY)
            }
            Ok(()) => Ok(core::mem::replace(&mut self.body, Bytes::EMPTY)),
            Err(status) => Err(status),
        })
    }

    /// See [`Request::started`].
    fn started(&self) -> Option<u32> {
        let done = self.done && self.result.is_ok();
        let id = self.body.first_chunk::<4>()?;
        (done && self.kind == Kind::TRANSACTION_START).then(|| u32::from_le_bytes(*id))
    }

    /// Checks a reply of the right kind and keeps what the caller wants of it.
    fn accept(&mut self, payload: &[u8], late: bool) -> Result<u32> {
        if self.kind == Kind::TRANSACTION_START {
            let id = wire::parse_tx_id(payload)?;
            self.body = Bytes::join(&[&id.to_le_bytes()])?;
            return Ok(id);
        }
        if self.kind == Kind::GET_PERMS {
            wire::permissions(payload).try_for_each(|entry| entry.map(drop))?;
        }
        if self.kind.replies_ok() {
            if !payload.starts_with(b"OK") {
                return Err(status::DEVICE_PROTOCOL_ERROR);
            }
        } else if let Some(listing) = self.listing.take() {
            self.body = Bytes::Heap(listing.into_inner().into_names());
        } else if !late {
            self.body = Bytes::join(&[payload])?;
        }
        Ok(0)
    }

    /// Follows a list over its parts: asks again when a reply of a DIRECTORY does not fit, and until
    /// the last part.
    fn list(&mut self, reply: Result<&[u8]>, late: bool) -> Listed {
        if late || self.orphan {
            self.listing = None;
            return Listed::No;
        }
        let step = match (self.kind, reply) {
            // E2BIG.
            (Kind::DIRECTORY, Err(status::INVALID_BUFFER_SIZE)) => {
                let body = core::mem::replace(&mut self.body, Bytes::EMPTY);
                Box::try_new(TAG, Listing::new(body))
                    .map_err(status::no_memory)
                    .and_then(|mut listing| {
                        let body = listing.ask()?;
                        self.listing = Some(listing);
                        Ok(Some(body))
                    })
            }
            (Kind::DIRECTORY_PART, Ok(payload)) => match &mut self.listing {
                Some(listing) => listing.add(payload).and_then(|part| match part {
                    Part::More => listing.ask().map(Some),
                    Part::Last => Ok(None),
                }),
                None => Err(status::DEVICE_PROTOCOL_ERROR),
            },
            // A daemon that has no parts: the list is too long.
            (Kind::DIRECTORY_PART, Err(status::NOT_IMPLEMENTED)) => {
                Err(status::INVALID_BUFFER_SIZE)
            }
            (Kind::DIRECTORY_PART, Err(status)) => Err(status),
            _ => return Listed::No,
        };
        match step {
            Ok(Some(body)) => {
                self.kind = Kind::DIRECTORY_PART;
                self.body = body;
                self.done = false;
                Listed::More
            }
            Ok(None) => Listed::Whole,
            Err(status) => {
                self.listing = None;
                Listed::Failed(status)
            }
        }
    }

    /// Makes a request that nobody waits for the one that undoes it, if the daemon holds something.
    fn undo(&mut self, outcome: Result<u32>) -> bool {
        match (self.kind, outcome) {
            (Kind::TRANSACTION_START, Ok(id)) => {
                self.kind = Kind::TRANSACTION_END;
                self.tx_id = id;
                self.body = end_body(false);
            }
            // WATCH and UNWATCH send the same bytes.
            (Kind::WATCH, Ok(_)) => self.kind = Kind::UNWATCH,
            _ => return false,
        }
        self.done = false;
        self.orphan = true;
        self.deliver = false;
        true
    }
}
