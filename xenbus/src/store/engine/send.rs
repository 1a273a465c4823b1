// SPDX-License-Identifier: BSD-2-Clause
//! The engine's sending half: from the queue through the window to the ring. The store task's, at DISPATCH_LEVEL.

use kexec::nt::Arc;
use kexec::{Instant, Status};

use super::{Engine, InFlight, Port, SLOT_BITS, WINDOW, settle, stale_transaction};
use crate::store::chain::Chain;
use crate::store::request::{QUEUED, Request, Started};
use crate::store::ring::Fault;
use crate::store::shared::add;
use crate::store::wire::{HEADER_LEN, Header};

/// Requests that nobody wants any more, skipped in one turn.
const SKIPS_PER_TURN: usize = 64;

/// What became of a request that was taken from the queue.
enum Begun {
    /// It is on the ring.
    Whole,
    /// A part of it is, for which there was room.
    Partly,
    /// It need not be sent.
    Skipped,
}

impl<P: Port> Engine<P> {
    pub(super) fn send(&mut self, now: Instant) -> Result<bool, Fault> {
        let mut taken = Chain::new();
        let sent = self.send_taken(&mut taken, now);
        // Those for which the ring had no room.
        self.shared.queue.put_back_all(taken);
        sent
    }

    /// Sends what is in `taken`, which is filled from the queue with what the window takes.
    fn send_taken(
        &mut self,
        taken: &mut Chain<Request, QUEUED>,
        now: Instant,
    ) -> Result<bool, Fault> {
        let mut skips = 0;
        loop {
            if self.sending.is_none() {
                if taken.is_empty() {
                    if self.shared.paused() || !self.admits() {
                        return Ok(false);
                    }
                    *taken = self.shared.queue.pop_many(self.window() - self.in_flight);
                }
                let Some(request) = taken.pop() else {
                    return Ok(false);
                };
                match self.begin(request, now)? {
                    Begun::Whole => continue,
                    Begun::Partly => return Ok(false),
                    Begun::Skipped => {}
                }
                skips += 1;
                if skips == SKIPS_PER_TURN {
                    return Ok(true);
                }
                continue;
            }
            let Some(entry) = self.sending.and_then(|slot| self.window[slot].as_ref()) else {
                return Ok(false);
            };
            let (header, sender, port) = (entry.header, &mut self.sender, &self.port);
            let push = |body: &[u8]| sender.push(port, &header.to_bytes(), body);
            if !entry.request.with_body(push)? {
                return Ok(false);
            }
            self.sent(header);
        }
    }

    /// The whole of a request is on the ring.
    fn sent(&mut self, header: Header) {
        add(
            &self.shared.counters.bytes_out,
            HEADER_LEN + header.len as usize,
        );
        self.sending = None;
    }

    /// Most requests in flight.
    fn window(&self) -> usize {
        self.policy.window.clamp(1, WINDOW)
    }

    /// Whether the window takes a request now.
    fn admits(&mut self) -> bool {
        let window = self.window();
        if self.in_flight >= window {
            self.emptying = true;
            return false;
        }
        // Those that the daemon has passed over, or will never answer, keep nobody waiting.
        let live = |entry: &&InFlight| entry.number > self.answered && !entry.expired;
        self.emptying =
            self.emptying && self.window.iter().flatten().filter(live).count() > window / 2;
        !self.emptying
    }

    /// Gives a request its id and its place in the window, and puts what fits of it on the ring.
    fn begin(&mut self, request: Arc<Request>, now: Instant) -> Result<Begun, Fault> {
        let Some(slot) = self.window.iter().position(Option::is_none) else {
            settle(
                &self.shared,
                &mut self.told,
                &request,
                Err(Status::INTERNAL_ERROR),
            );
            return Ok(Begun::Skipped);
        };
        let req_id = self.next_id(slot);
        let (current, sender, port) = (self.epoch, &mut self.sender, &self.port);
        // One look at the request: it is locked for it.
        let begun = request.start(|started, body| {
            let Started {
                kind,
                tx_id,
                epoch,
                len,
            } = started;
            if tx_id != 0 && epoch != current {
                return Err(kind);
            }
            let header = Header {
                kind,
                req_id,
                tx_id,
                len,
            };
            Ok((header, sender.push(port, &header.to_bytes(), body)))
        });
        let (header, pushed) = match begun {
            None => {
                self.shared.spares.give(request);
                return Ok(Begun::Skipped);
            }
            Some(Err(kind)) => {
                settle(
                    &self.shared,
                    &mut self.told,
                    &request,
                    Err(stale_transaction(kind)),
                );
                return Ok(Begun::Skipped);
            }
            Some(Ok(begun)) => begun,
        };
        self.numbers += 1;
        self.window[slot] = Some(InFlight {
            request,
            header,
            since: now,
            number: self.numbers,
            expired: false,
        });
        self.in_flight += 1;
        self.sending = Some(slot);
        self.active = now;
        add(&self.shared.counters.requests, 1);
        if !pushed? {
            return Ok(Begun::Partly);
        }
        self.sent(header);
        Ok(Begun::Whole)
    }

    fn next_id(&mut self, slot: usize) -> u32 {
        let generation = &mut self.generations[slot];
        loop {
            *generation = generation.wrapping_add(1);
            #[expect(clippy::cast_possible_truncation, reason = "slot < 16")]
            let id = (*generation << SLOT_BITS) | slot as u32;
            if id != 0 {
                return id;
            }
        }
    }
}
