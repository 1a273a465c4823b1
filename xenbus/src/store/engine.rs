// SPDX-License-Identifier: BSD-2-Clause
//! The engine: the window of requests in flight and the state of the connection.
//!
//! Owned by the one store task, which calls [`Engine::turn`] after every kick and never otherwise:
//! no lock guards anything here. A turn is bounded: at most one ring of responses and what fits of
//! requests. Receiving never depends on sending, or the daemon's limit of outstanding requests and
//! our full ring would wait for each other.
//!
//! ```text
//!         1 fault, feature bit         2 connection word 0
//!    Up -----------------> Reconnecting ------------------> Up
//!     |                         | 4 time-out
//!     | 3 fault, no such bit    v
//!     +-----------------------> Down
//! ```
//! 1, 3 [`Engine::fault`]; 2, 4 [`Engine::reconnect`]. In Down everything fails at once. From every
//! state the toolstack may introduce the domain anew, to a daemon that was restarted: it zeroes the
//! indices, ours too, which nobody else does; [`Engine::introduced`] starts over from there.
//!
//! Batches: while more is queued than the window takes, the window is filled again only once half of
//! it is empty, so that one event to the daemon stands for at least half a window of requests.

use core::task::{Context, Poll};
use kexec::nt::{Arc, Box};
use kexec::{Duration, Instant, Result, Status};

use super::bytes::INLINE;
use super::delivery::{Job, Lists};
use super::framing::{Receiver, Sender};
use super::queue::Admission;
use super::request::{Request, TAG};
use super::ring::{self, Control, Fault, RingPage};
use super::shared::{Policy, Shared, add};
use super::watch::Fired;
use super::wire::{self, HEADER_LEN, Header, Kind};
use crate::status;
use settle::{settle, stale_transaction};

mod clock;
mod resume;
mod send;
mod settle;

/// Most requests in flight: C xenstored stops reading at 20 outstanding.
pub const WINDOW: usize = 16;
const SLOT_BITS: u32 = 4;
/// The clock is looked at no more often than this: a request or two more is not worth it.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Messages handled in one turn; one ring holds no more.
const MESSAGES_PER_TURN: usize = 64;
/// The page, and the way to wake its other side.
pub trait Port: RingPage {
    /// Sends the event. `<= DISPATCH_LEVEL`.
    fn notify(&self);

    /// Ready once for each event that came; registers the task's waker otherwise.
    ///
    /// A port whose events [`Shared::kick`] the task needs nothing here.
    fn poll_event(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// After a suspend: the page and the event of the new domain.
    ///
    /// # Errors
    /// The toolstack gave none.
    fn renew(&mut self) -> Result {
        Ok(())
    }
}

struct InFlight {
    request: Arc<Request>,
    header: Header,
    since: Instant,
    /// Its number among all requests.
    number: u64,
    expired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Up,
    Reconnecting { since: Instant },
    Down,
}

/// What the task does after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do at once.
    Again,
    /// Wait for a kick, or for this long.
    Wait(Option<Duration>),
    /// The connection is stopped: every request has its result.
    Stopped,
}

/// See the module.
pub struct Engine<P: Port> {
    port: P,
    shared: Arc<Shared>,
    policy: Policy,
    sender: Sender,
    receiver: Receiver,
    window: [Option<InFlight>; WINDOW],
    generations: [u32; WINDOW],
    in_flight: usize,
    /// Requests so far, and the youngest that was answered.
    numbers: u64,
    answered: u64,
    /// The window was full and is being emptied to its half.
    emptying: bool,
    sending: Option<usize>,
    /// Callbacks to make after this turn.
    told: Lists,
    connection: Connection,
    epoch: u32,
    /// When something was last heard or said.
    active: Instant,
    stop_since: Option<Instant>,
    /// When the clock was looked at last, and when requests without a reply were last logged.
    looked: Option<Instant>,
    warned: Instant,
}

impl<P: Port> Engine<P> {
    /// Takes over the rings where they stand. `seed` makes request ids of an earlier life stale.
    ///
    /// # Errors
    /// `NO_MEMORY`; `DEVICE_PROTOCOL_ERROR` when the ring's indices make no sense.
    pub fn try_new(port: P, shared: Arc<Shared>, policy: Policy, seed: u32) -> Result<Box<Self>> {
        let sender = Sender::attach(&port).map_err(|_| status::DEVICE_PROTOCOL_ERROR)?;
        let receiver = Receiver::try_attach(&port)?;
        let now = Instant::now();
        let connection = if ring::reconnecting(&port) {
            Connection::Reconnecting { since: now }
        } else {
            Connection::Up
        };
        let epoch = shared.epoch();
        Box::try_new(
            TAG,
            Self {
                port,
                shared,
                policy,
                sender,
                receiver,
                window: [const { None }; WINDOW],
                generations: [seed; WINDOW],
                in_flight: 0,
                numbers: 0,
                answered: 0,
                emptying: false,
                sending: None,
                told: Lists::default(),
                connection,
                epoch,
                active: now,
                stop_since: None,
                looked: None,
                warned: now,
            },
        )
    }

    /// One bounded run: receive, send, notify at most once, look at the clock. Whoever is to be told of it is told afterwards.
    pub fn turn(&mut self, now: Instant) -> Turn {
        let turn = self.work(now);
        self.shared.delivery.push_all(&mut self.told);
        turn
    }

    fn work(&mut self, now: Instant) -> Turn {
        add(&self.shared.counters.turns, 1);
        self.follow_epoch(now);
        if ring::introduced(
            &self.port,
            self.sender.published(),
            self.receiver.published(),
        ) {
            self.introduced(now);
        }
        let mut again = false;
        match self.connection {
            Connection::Up => {
                let mut notify = false;
                match self.exchange(now, &mut notify) {
                    Ok(more) => again = more,
                    Err(fault) => self.fault(fault, now),
                }
                if notify {
                    self.notify(now);
                }
            }
            Connection::Reconnecting { since } => again = self.reconnect(since, now),
            Connection::Down => self.fail_all(status::CONNECTION_DISCONNECTED),
        }
        self.look_at_clock(now);
        self.shared.follow(self.epoch);
        if self.shared.paused() && self.in_flight == 0 {
            self.shared.drained();
        }
        if self.shared.stopping() && self.may_stop(now) {
            self.shared.queue.close(status::CANCELLED);
            self.fail_all(status::CANCELLED);
            return Turn::Stopped;
        }
        if again {
            return Turn::Again;
        }
        let busy = self.in_flight > 0
            || !self.shared.queue.is_empty()
            || self.shared.stopping()
            || matches!(self.connection, Connection::Reconnecting { .. });
        if busy {
            return Turn::Wait(Some(self.next_look(now)));
        }
        Turn::Wait((self.shared.watches.live() > 0).then_some(self.policy.idle))
    }

    /// How long the clock can be left alone: until the next repeated event or time-out.
    fn next_look(&self, now: Instant) -> Duration {
        let quiet = now.since(self.active).ticks();
        let fallback = self.policy.fallback.ticks().saturating_sub(quiet);
        let look = Duration::from_ticks(fallback).max(Duration::from_millis(1));
        self.policy.timeout.map_or(look, |limit| look.min(limit))
    }

    /// The page and its event.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn exchange(&mut self, now: Instant, notify: &mut bool) -> core::result::Result<bool, Fault> {
        let heard = self.receive(now)?;
        *notify |= self.receiver.publish(&self.port);
        let said = self.send(now)?;
        *notify |= self.sender.publish(&self.port);
        // More arrived since, or requests were left because their number is bounded.
        Ok(said || (heard && self.receiver.available(&self.port)? > 0))
    }

    fn notify(&mut self, now: Instant) {
        add(&self.shared.counters.event_sends, 1);
        self.active = now;
        self.port.notify();
    }

    fn receive(&mut self, now: Instant) -> core::result::Result<bool, Fault> {
        let mut heard = false;
        for _ in 0..MESSAGES_PER_TURN {
            let Some(header) = self.receiver.next(&self.port)? else {
                break;
            };
            heard = true;
            self.active = now;
            add(
                &self.shared.counters.bytes_in,
                HEADER_LEN + header.len as usize,
            );
            self.demux(header);
        }
        // A long message moves in slices; each one is a sign of life.
        if self.receiver.mid_message() {
            self.active = now;
        }
        Ok(heard)
    }

    fn demux(&mut self, header: Header) {
        if header.kind == Kind::WATCH_EVENT {
            self.watch_event();
            return;
        }
        let slot = (header.req_id as usize) % WINDOW;
        let known = self.window[slot]
            .as_ref()
            .is_some_and(|entry| entry.header.req_id == header.req_id);
        // A reply to half a request is a lie; the request's bytes are still needed.
        if !known || self.sending == Some(slot) {
            self.spurious(header);
            return;
        }
        let Some(entry) = self.window[slot].take() else {
            return;
        };
        kexec::probe!(Demux);
        self.in_flight -= 1;
        self.answered = self.answered.max(entry.number);
        add(&self.shared.counters.replies, 1);
        let reply = if header.tx_id != entry.header.tx_id {
            Err(status::DEVICE_PROTOCOL_ERROR)
        } else if header.kind == Kind::ERROR {
            Err(wire::parse_error(self.receiver.payload()))
        } else if header.kind != entry.header.kind {
            Err(status::DEVICE_PROTOCOL_ERROR)
        } else {
            Ok(self.receiver.payload())
        };
        // Gone with a domain or a daemon of before: what was wanted.
        let reply = match reply {
            Err(status::OBJECT_NAME_NOT_FOUND) if entry.header.kind == Kind::UNWATCH => {
                Ok(&b"OK\0"[..])
            }
            reply => reply,
        };
        if reply.as_ref().err() == Some(&status::DEVICE_PROTOCOL_ERROR) {
            add(&self.shared.counters.protocol_errors, 1);
        }
        if reply.is_ok_and(|payload| payload.len() > INLINE) {
            add(&self.shared.counters.allocations, 1);
        }
        settle(&self.shared, &mut self.told, &entry.request, reply);
        // Nobody waited, or who did has its result already.
        self.shared.spares.give(entry.request);
    }

    fn watch_event(&mut self) {
        let node = wire::parse_watch_event(self.receiver.payload())
            .and_then(|(_, token)| wire::parse_token(token))
            .and_then(|(slot, generation)| self.shared.watches.find(slot, generation));
        let Some(node) = node else {
            add(&self.shared.counters.spurious, 1);
            return;
        };
        add(&self.shared.counters.watch_events, 1);
        if node.fire() == Fired::Deliver {
            self.told.push(Job::Watch(node));
        }
    }

    fn spurious(&self, header: Header) {
        let seen = self
            .shared
            .counters
            .spurious
            .load(core::sync::atomic::Ordering::Relaxed);
        add(&self.shared.counters.spurious, 1);
        // A peer can send these at will: the log gets the first few and then every 1024th.
        if seen < 4 || seen.is_multiple_of(1024) {
            kexec::warn!(
                "store: dropped message, type {} id {:#x} length {}",
                header.kind.0,
                header.req_id,
                header.len
            );
        }
    }

    /// The peer broke the protocol: everything fails, and the connection is rebuilt if it can be.
    fn fault(&mut self, fault: Fault, now: Instant) {
        add(&self.shared.counters.faults, 1);
        let control = Control::load(&self.port);
        kexec::error!("store: connection broken: {fault:?}, {control:?}");
        // Open transactions belong to a connection of the past from here on.
        self.shared.suspended();
        self.epoch = self.shared.epoch();
        self.shared.queue.close(status::CONNECTION_DISCONNECTED);
        self.fail_all(status::CONNECTION_DISCONNECTED);
        if control.features & ring::FEATURE_RECONNECT != 0 {
            ring::request_reconnect(&self.port);
            self.notify(now);
            self.connection = Connection::Reconnecting { since: now };
        } else {
            self.connection = Connection::Down;
        }
    }

    fn reconnect(&mut self, since: Instant, now: Instant) -> bool {
        if ring::reconnecting(&self.port) {
            if now.since(since) >= self.policy.reconnect {
                kexec::error!("store: daemon did not reconnect");
                self.shared.queue.close(status::CONNECTION_DISCONNECTED);
                self.connection = Connection::Down;
                self.fail_all(status::CONNECTION_DISCONNECTED);
            }
            return false;
        }
        match Sender::attach(&self.port)
            .and_then(|sender| self.receiver.reattach(&self.port).map(|()| sender))
        {
            Ok(sender) => {
                self.sender = sender;
                self.connection = Connection::Up;
                if !self.shared.stopping() {
                    self.shared.queue.reopen();
                }
                self.renew_watches(now);
                true
            }
            Err(_) => {
                self.connection = Connection::Down;
                self.fail_all(status::CONNECTION_DISCONNECTED);
                false
            }
        }
    }

    /// The domain was introduced to the daemon anew: nothing of ours is known there, and the rings
    /// are empty.
    fn introduced(&mut self, now: Instant) {
        kexec::warn!("store: introduced to the daemon anew");
        add(&self.shared.counters.introductions, 1);
        self.shared.suspended();
        self.epoch = self.shared.epoch();
        self.fail_window(status::CONNECTION_DISCONNECTED);
        self.connection = Connection::Reconnecting { since: now };
    }

    /// Registers every watch again and tells each owner once that anything may have changed.
    fn renew_watches(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(node) = self.shared.watches.next_from(at) {
            at = node.token().0.saturating_add(1);
            if let Some(request) = node.kept()
                && request.claim(Kind::WATCH, Kind::WATCH, false)
            {
                let _ = self.shared.queue.push(&request, Admission::Cleanup, now);
            }
            if node.fire() == Fired::Deliver {
                self.told.push(Job::Watch(node));
            }
        }
    }

    fn fail_window(&mut self, status: Status) {
        self.sending = None;
        self.emptying = false;
        for place in &mut self.window {
            if let Some(entry) = place.take() {
                settle(&self.shared, &mut self.told, &entry.request, Err(status));
            }
        }
        self.in_flight = 0;
    }

    fn fail_all(&mut self, status: Status) {
        self.fail_window(status);
        while let Some(request) = self.shared.queue.pop() {
            settle(&self.shared, &mut self.told, &request, Err(status));
        }
    }

    /// A stop leaves at a message boundary of both rings, or after a bounded wait.
    fn may_stop(&mut self, now: Instant) -> bool {
        let since = *self.stop_since.get_or_insert(now);
        let quiet = self.in_flight == 0
            && self.shared.queue.is_empty()
            && !self.sender.mid_message()
            && !self.receiver.mid_message();
        let waited = now.since(since) >= self.policy.drain;
        // Nobody answers any more: do not wait for it again.
        let silent = self.window.iter().flatten().any(|entry| entry.expired);
        quiet || waited || silent || self.connection != Connection::Up
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
