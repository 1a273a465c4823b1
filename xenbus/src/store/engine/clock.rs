// SPDX-License-Identifier: BSD-2-Clause
//! The engine and time: a lost event, requests that wait too long, requests that ran out of time.
//!
//! Called at the end of a turn; looks at most once a millisecond, however many turns there are.

use kexec::Instant;

use super::{Connection, Engine, LOOK_EVERY, Port, settle};
use crate::status;
use crate::store::shared::add;

impl<P: Port> Engine<P> {
    /// Sends a lost event again, logs age, and ends what ran out of time.
    pub(super) fn look_at_clock(&mut self, now: Instant) {
        let due = self.looked.is_none_or(|at| now.since(at) >= LOOK_EVERY);
        if !due || (self.in_flight == 0 && self.shared.queue.is_empty()) {
            return;
        }
        self.looked = Some(now);
        if self.in_flight > 0
            && self.connection == Connection::Up
            && now.since(self.active) >= self.policy.fallback
        {
            add(&self.shared.counters.fallback_sends, 1);
            self.notify(now);
        }
        self.warn_of_age(now);
        let Some(limit) = self.policy.timeout else {
            return;
        };
        for entry in self.window.iter_mut().flatten() {
            // Its place stays taken until the reply comes: the daemon still owes it.
            if now.since(entry.since) >= limit && !entry.expired {
                entry.expired = true;
                add(&self.shared.counters.timeouts, 1);
                settle(
                    &self.shared,
                    &mut self.told,
                    &entry.request,
                    Err(status::IO_TIMEOUT),
                );
            }
        }
        let Some(before) = now.ticks().checked_sub(limit.ticks()) else {
            return;
        };
        while let Some(request) = self.shared.queue.pop_until(Instant::from_ticks(before)) {
            add(&self.shared.counters.timeouts, 1);
            settle(
                &self.shared,
                &mut self.told,
                &request,
                Err(status::IO_TIMEOUT),
            );
        }
    }

    /// One line for all that wait too long, once a period.
    fn warn_of_age(&mut self, now: Instant) {
        let period = self.policy.warn_after;
        let waiting = self.window.iter().flatten().filter(|entry| !entry.expired);
        let late = waiting.filter(|entry| now.since(entry.since) >= period);
        let Some(oldest) = late.clone().min_by_key(|entry| entry.since) else {
            return;
        };
        if now.since(self.warned.max(oldest.since)) < period {
            return;
        }
        self.warned = now;
        add(&self.shared.counters.age_warnings, 1);
        kexec::warn!(
            "store: {} requests without a reply, {} queued; the oldest, type {} id {:#x}, for {}",
            late.count(),
            self.shared.queue.len(),
            oldest.header.kind.0,
            oldest.header.req_id,
            now.since(oldest.since)
        );
    }
}
