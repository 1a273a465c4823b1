// SPDX-License-Identifier: BSD-2-Clause
//! The asynchronous store table: requests with a completion, watches with a callback.
//!
//! Completions and callbacks are made by the store's delivery DPC, outside any poll, with no lock held
//! that the callee could meet. Closing waits for one that is running. `<= DISPATCH_LEVEL`.

use kexec::nt::Arc;
use kexec::{Result, Status};
use xenbus_interface::store_async as table;

use crate::status;
use crate::store::client::{Client, Watch, permission_text};
use crate::store::queue::Admission;
use crate::store::request::{Callback, Request};
use crate::store::watch::Target;
use crate::store::wire::{Kind, Path, Permission};

/// A request as the table's `Request` says, with slices for its pointers.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// One of the table's `OP_` numbers.
    pub number: u32,
    /// Identity of a transaction, or 0.
    pub transaction: u64,
    /// The path.
    pub path: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// A submitted request; give it back by [`Pending::close`]. One pointer: it is the request's own block.
#[must_use = "a pending request is closed exactly once"]
pub struct Pending(pub(crate) Arc<Request>);

/// Submits a request. `callback` is made once, unless the request is closed before; `None`: nobody
/// hears of the result, and there is nothing to close.
///
/// # Errors
/// `NOT_SUPPORTED` for an unknown number, `INVALID_PARAMETER`, `INVALID_BUFFER_SIZE`, `NO_MEMORY`,
/// `INSUFFICIENT_RESOURCES`, or why the store is not there.
pub fn submit(
    client: &Client,
    operation: Operation<'_>,
    callback: Option<Callback>,
) -> Result<Option<Pending>> {
    let request = encode(client, operation, callback)?;
    let shared = client.shared();
    request.set_lane(client.lane());
    let admission = match (operation.number, callback) {
        (table::OP_TRANSACTION_COMMIT | table::OP_TRANSACTION_ABORT, _) => Admission::Cleanup,
        // Nobody would know which transaction to end.
        (table::OP_TRANSACTION_START, None) => return Err(status::INVALID_PARAMETER),
        (_, None) => Admission::Detached,
        (_, Some(_)) => Admission::Waiting,
    };
    if callback.is_some() {
        request.set_owner(shared);
    }
    shared.submit(&request, admission)?;
    Ok(callback.map(|_| Pending(request)))
}

fn encode(
    client: &Client,
    operation: Operation<'_>,
    callback: Option<Callback>,
) -> Result<Arc<Request>> {
    let Operation {
        number,
        transaction,
        path,
        value,
    } = operation;
    // Identity: connection in the upper half, id in the lower.
    let (tx_id, epoch) = (
        (transaction & 0xFFFF_FFFF) as u32,
        (transaction >> 32) as u32,
    );
    let shared = client.shared();
    let make = |kind, parts: &[&[u8]]| shared.request(kind, (tx_id, epoch), parts, callback);
    let plain = |kind| {
        let [a, b, c] = Path::plain(path)?.parts();
        make(kind, &[a, b, c, b"\0"])
    };
    match number {
        table::OP_READ => plain(Kind::READ),
        table::OP_REMOVE => plain(Kind::RM),
        table::OP_DIRECTORY => plain(Kind::DIRECTORY),
        table::OP_PERMISSIONS_GET => plain(Kind::GET_PERMS),
        table::OP_WRITE => {
            let [a, b, c] = Path::plain(path)?.parts();
            make(Kind::WRITE, &[a, b, c, b"\0", value])
        }
        table::OP_TRANSACTION_START if transaction != 0 => Err(status::PIPE_BUSY),
        table::OP_TRANSACTION_START => {
            let transaction = (0, shared.epoch());
            shared.request(Kind::TRANSACTION_START, transaction, &[b"\0"], callback)
        }
        table::OP_TRANSACTION_COMMIT | table::OP_TRANSACTION_ABORT if tx_id == 0 => {
            Err(status::INVALID_PARAMETER)
        }
        table::OP_TRANSACTION_COMMIT => make(Kind::TRANSACTION_END, &[b"T\0"]),
        table::OP_TRANSACTION_ABORT => make(Kind::TRANSACTION_END, &[b"F\0"]),
        table::OP_PERMISSIONS_SET => {
            let (entries, rest) = value.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(status::INVALID_PARAMETER);
            }
            let text = permission_text(entries.iter().map(|&[d0, d1, _, _, m0, m1, m2, m3]| {
                Ok(Permission {
                    domain: u16::from_le_bytes([d0, d1]),
                    mask: u32::from_le_bytes([m0, m1, m2, m3]),
                })
            }))?;
            let [a, b, c] = Path::plain(path)?.parts();
            make(Kind::SET_PERMS, &[a, b, c, b"\0", &text])
        }
        _ => Err(Status::NOT_SUPPORTED),
    }
}

impl Pending {
    /// Gives the request back: its completion is not running and never will once this returns.
    ///
    /// A request that had not completed is cancelled, and what it leaves at the daemon is undone. Not
    /// from a completion of this request.
    pub fn close(self) {
        let request = self.0;
        let cancelled = request.disarm();
        let Some(shared) = request.take_owner() else {
            return;
        };
        // A transaction that was started and not told of ends here, or with the daemon's reply.
        if cancelled && request.abandon_start() {
            let _ = shared.submit(&request, Admission::Cleanup);
        }
        shared.spares.give(request);
    }
}

/// A registered watch; give it back by [`LiveWatch::remove`].
#[must_use = "a watch is removed exactly once"]
pub struct LiveWatch(Watch);

/// Registers a watch. Success is the local part; a refusal of the daemon comes by `callback`.
///
/// # Errors
/// As [`submit`].
pub fn watch_add(client: &Client, path: &[u8], callback: Callback) -> Result<LiveWatch> {
    let path = Path::plain(path)?;
    match client.watch_for(path, Target::Call(callback)) {
        Ok((watch, call)) if call.refused().is_none() => {
            call.detach();
            Ok(LiveWatch(watch))
        }
        Ok((_, call)) => Err(call.refused().unwrap_or(status::UNSUCCESSFUL)),
        Err(status) => Err(status),
    }
}

impl LiveWatch {
    /// Removes the watch: its callback is not running and never will once this returns.
    ///
    /// Not from its callback.
    pub fn remove(self) {
        // Silences it first, which waits for a call in progress; UNWATCH is not waited for.
        drop(self.0);
    }
}

#[cfg(test)]
#[path = "store_async_tests.rs"]
mod tests;
