// SPDX-License-Identifier: BSD-2-Clause
//! What becomes of a request once its result is known. The store task's, at DISPATCH_LEVEL.

use kexec::nt::Arc;
use kexec::{Instant, Result, Status};

use crate::status;
use crate::store::delivery::{Job, Lists};
use crate::store::queue::Admission;
use crate::store::request::{After, Request};
use crate::store::shared::Shared;
use crate::store::watch::Fired;
use crate::store::wire::{self, Kind};

/// What an operation of a dead transaction gets; only END says "again".
pub(super) fn stale_transaction(kind: Kind) -> Status {
    if kind == Kind::TRANSACTION_END {
        status::RETRY
    } else {
        status::UNSUCCESSFUL
    }
}

/// Gives a request its result, and does what follows from it.
pub(super) fn settle(
    shared: &Shared,
    told: &mut Lists,
    request: &Arc<Request>,
    reply: Result<&[u8]>,
) {
    match request.finish(reply) {
        After::Nothing => {}
        After::Deliver => told.push(Job::Request(request.clone())),
        After::More => {
            let queue = &shared.queue;
            if let Err(status) = queue.push(request, Admission::Cleanup, Instant::now()) {
                settle(shared, told, request, Err(status));
            }
        }
        After::Undo => {
            let _ = shared
                .queue
                .push(request, Admission::Cleanup, Instant::now());
        }
        After::Refused(status) => {
            let token = request.with_body(wire::watch_token);
            let node = token.and_then(|(slot, generation)| shared.watches.find(slot, generation));
            if let Some(node) = node
                && node.refuse(status) == Fired::Deliver
            {
                told.push(Job::Watch(node));
            }
        }
    }
}
