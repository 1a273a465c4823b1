// SPDX-License-Identifier: BSD-2-Clause
//! The engine after a suspend: another domain, another daemon's view of it, the same callers.
//!
//! | was in flight | becomes |
//! |---|---|
//! | read, list, write, remove, permissions outside a transaction; WATCH | put back in front of its lane, in the old order |
//! | TRANSACTION_START, TRANSACTION_END, anything in a transaction | `RETRY` |
//! | UNWATCH, RESET_WATCHES | done: the new daemon knows no watch |
//! | what nobody waits for any more | dropped |
//!
//! What was queued stays queued. Every listed watch is registered again, and its owner told once that anything may have changed.

use kexec::Instant;

use super::{Connection, Engine, InFlight, Port, settle};
use crate::status;
use crate::store::framing::Sender;
use crate::store::ring;
use crate::store::shared::add;
use crate::store::wire::Kind;

/// What a suspend means for a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Again,
    Retry,
    Done,
}

fn fate(kind: Kind, tx_id: u32) -> Fate {
    match kind {
        Kind::TRANSACTION_START | Kind::TRANSACTION_END => Fate::Retry,
        _ if tx_id != 0 => Fate::Retry,
        Kind::UNWATCH | Kind::RESET_WATCHES => Fate::Done,
        _ => Fate::Again,
    }
}

impl<P: Port> Engine<P> {
    /// Follows a suspend, if there was one.
    pub(super) fn follow_epoch(&mut self, now: Instant) {
        let epoch = self.shared.epoch();
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        add(&self.shared.counters.resumes, 1);
        self.empty_window();
        self.active = now;
        let attached = self.port.renew().and_then(|()| {
            Sender::attach(&self.port)
                .and_then(|sender| self.receiver.reattach(&self.port).map(|()| sender))
                .map_err(|_| status::DEVICE_PROTOCOL_ERROR)
        });
        match attached {
            Ok(sender) => {
                self.sender = sender;
                if !self.shared.stopping() {
                    // A fault of before is over.
                    self.shared.queue.reopen();
                }
                if ring::reconnecting(&self.port) {
                    self.connection = Connection::Reconnecting { since: now };
                } else {
                    self.connection = Connection::Up;
                    self.renew_watches(now);
                }
            }
            Err(status) => {
                kexec::error!("store: no connection after the resume, {status}");
                self.shared.queue.close(status::CONNECTION_DISCONNECTED);
                self.connection = Connection::Down;
                self.fail_all(status::CONNECTION_DISCONNECTED);
            }
        }
    }

    /// Decides about everything in flight, the youngest first, so that what is put back comes in the old order.
    fn empty_window(&mut self) {
        self.sending = None;
        self.emptying = false;
        self.in_flight = 0;
        while let Some(entry) = self.take_youngest() {
            // Settled already, by a time-out.
            if entry.expired {
                continue;
            }
            match fate(entry.header.kind, entry.header.tx_id) {
                Fate::Again => self.shared.queue.put_back(&entry.request),
                Fate::Retry => settle(
                    &self.shared,
                    &mut self.told,
                    &entry.request,
                    Err(status::RETRY),
                ),
                Fate::Done => settle(&self.shared, &mut self.told, &entry.request, Ok(b"OK\0")),
            }
        }
    }

    fn take_youngest(&mut self) -> Option<InFlight> {
        let youngest = self
            .window
            .iter_mut()
            .filter(|place| place.is_some())
            .max_by_key(|place| place.as_ref().map(|entry| entry.number))?;
        youngest.take()
    }
}
