// SPDX-License-Identifier: BSD-2-Clause
//! What callers hold: a client, and futures of its requests.
//!
//! Every method encodes and queues its request at once and returns a future of the reply, so that
//! requests pipeline in the order of the calls. All futures are cancel-safe: dropping one leaves
//! nothing behind, neither here nor at the daemon. `<= DISPATCH_LEVEL`.

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use kexec::nt::Arc;
use kexec::{Result, Status};

use super::bytes::Bytes;
use super::queue::Admission;
use super::request::{Request, TAG};
use super::shared::Shared;
use super::transaction::Transaction;
use super::watch::{Node, Target};
use super::wire::{self, Kind, Path, Permission};
use crate::status;

/// A cheap handle to the store.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    admission: Admission,
    lane: u8,
    quiet: bool,
}

impl Client {
    /// A client of the connection that `shared` belongs to.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            admission: Admission::Waiting,
            lane: 0,
            quiet: false,
        }
    }

    /// The same on a lane of its own: lanes take turns, so callers do not wait for each other's
    /// requests. There are [`LANES`](super::queue::LANES), numbers beyond share.
    #[must_use]
    pub fn on_lane(self, lane: u8) -> Self {
        Self { lane, ..self }
    }

    /// The lane.
    #[must_use]
    pub fn lane(&self) -> u8 {
        self.lane
    }

    /// The same for a caller that may not wait: held to the small limit of the queue.
    #[must_use]
    pub fn synchronous(&self) -> Self {
        Self {
            admission: Admission::Synchronous,
            ..self.clone()
        }
    }

    /// The same for a caller that [kicks](Shared::kick) the task itself, after each request that it makes with it.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self {
            quiet: true,
            ..self.clone()
        }
    }

    /// The connection.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn call<T>(
        &self,
        kind: Kind,
        tx: Option<&Transaction>,
        parts: &[&[u8]],
        map: fn(Bytes) -> Result<T>,
    ) -> Call<T> {
        let transaction = tx.map_or((0, 0), Transaction::wire_id);
        let request = self.shared.request(kind, transaction, parts, None);
        self.submit(request, self.admission, map)
    }

    pub(super) fn submit<T>(
        &self,
        request: Result<Arc<Request>>,
        admission: Admission,
        map: fn(Bytes) -> Result<T>,
    ) -> Call<T> {
        let state = request.and_then(|request| {
            request.set_lane(self.lane);
            if self.quiet {
                self.shared.enqueue(&request, admission)?;
            } else {
                self.shared.submit(&request, admission)?;
            }
            Ok(request)
        });
        Call {
            state: match state {
                Ok(request) => CallState::Waiting(request, self.shared.clone()),
                Err(status) => CallState::Refused(status),
            },
            map,
            value: PhantomData,
        }
    }

    /// The value of a node, without a terminator.
    pub fn read(&self, tx: Option<&Transaction>, path: Path<'_>) -> Call<Bytes> {
        let [a, b, c] = path.parts();
        self.call(Kind::READ, tx, &[a, b, c, b"\0"], Ok)
    }

    /// Writes a value; missing parents are made.
    pub fn write(&self, tx: Option<&Transaction>, path: Path<'_>, value: &[u8]) -> Call<()> {
        let [a, b, c] = path.parts();
        self.call(Kind::WRITE, tx, &[a, b, c, b"\0", value], ignore)
    }

    /// The names of a node's children, each with a NUL; empty when there are none.
    pub fn directory(&self, tx: Option<&Transaction>, path: Path<'_>) -> Call<Bytes> {
        let [a, b, c] = path.parts();
        self.call(Kind::DIRECTORY, tx, &[a, b, c, b"\0"], Ok)
    }

    /// Removes a node and all below it.
    pub fn remove(&self, tx: Option<&Transaction>, path: Path<'_>) -> Call<()> {
        let [a, b, c] = path.parts();
        self.call(Kind::RM, tx, &[a, b, c, b"\0"], ignore)
    }

    /// Sets a node's permissions; the first entry names the owner.
    pub fn set_permissions(
        &self,
        tx: Option<&Transaction>,
        path: Path<'_>,
        permissions: &[Permission],
    ) -> Call<()> {
        match permission_text(permissions.iter().map(|p| Ok(*p))) {
            Ok(text) => {
                let [a, b, c] = path.parts();
                self.call(Kind::SET_PERMS, tx, &[a, b, c, b"\0", &text], ignore)
            }
            Err(status) => Call::failed(status, ignore),
        }
    }

    /// The permission strings of a node, each with a NUL: [`wire::permissions`] reads them.
    pub fn permissions(&self, tx: Option<&Transaction>, path: Path<'_>) -> Call<Bytes> {
        let [a, b, c] = path.parts();
        self.call(Kind::GET_PERMS, tx, &[a, b, c, b"\0"], Ok)
    }

    /// Drops every watch and transaction that a predecessor of this driver left at the daemon.
    pub fn reset_watches(&self) -> Call<()> {
        self.call(Kind::RESET_WATCHES, None, &[b"\0"], ignore)
    }

    /// Opens a transaction. Dropping it unended aborts it.
    ///
    /// # Errors
    /// The daemon's, or the connection's.
    pub async fn start_transaction(&self) -> Result<Transaction> {
        let epoch = self.shared.epoch();
        let kind = Kind::TRANSACTION_START;
        let request = self.shared.request(kind, (0, epoch), &[b"\0"], None)?;
        // Made first: if this future is dropped, the transaction's end is already arranged.
        let mut tx = Transaction::new(self.clone(), request.clone(), epoch);
        self.submit(Ok(request), self.admission, ignore).await?;
        tx.started()?;
        Ok(tx)
    }

    /// Registers a watch on a node and all below it; ready once the daemon has agreed.
    ///
    /// # Errors
    /// The daemon's, or the connection's.
    pub async fn watch(&self, path: Path<'_>) -> Result<Watch> {
        let (watch, call) = self.watch_for(path, Target::Future)?;
        call.await?;
        Ok(watch)
    }

    /// As [`watch`](Self::watch) for any target, without waiting: the watch is listed already, the
    /// call is the daemon's answer. Drop the watch if it is a refusal.
    ///
    /// # Errors
    /// `NO_MEMORY`, or the connection's.
    pub fn watch_for(&self, path: Path<'_>, target: Target) -> Result<(Watch, Call<()>)> {
        let node = self.shared.watches.add(target)?;
        let (slot, generation) = node.token();
        let [a, b, c] = path.parts();
        let token = wire::token(slot, generation);
        let parts = [a, b, c, b"\0", &token, b"\0"];
        let request = self.shared.request(Kind::WATCH, (0, 0), &parts, None);
        let watch = Watch {
            client: self.clone(),
            node,
            seen: 0,
        };
        // From here on dropping `watch` unlists it; UNWATCH is sent only if WATCH succeeded.
        let request = request?;
        watch.node.keep(request.clone());
        let call = self.submit(Ok(request), self.admission, ignore);
        Ok((watch, call))
    }
}

/// The text of SET_PERMS entries. Made in pool: there may be hundreds.
pub(crate) fn permission_text(
    permissions: impl Iterator<Item = Result<Permission>>,
) -> Result<kexec::nt::Vec<u8>> {
    let mut text = kexec::nt::Vec::new(TAG);
    for permission in permissions {
        text.try_extend_from_slice(&permission?.text()?)
            .map_err(status::no_memory)?;
        if text.len() > wire::PAYLOAD_MAX {
            return Err(status::INVALID_BUFFER_SIZE);
        }
    }
    Ok(text)
}

pub(super) fn ignore(_: Bytes) -> Result<()> {
    Ok(())
}

enum CallState {
    Waiting(Arc<Request>, Arc<Shared>),
    Refused(Status),
    Finished,
}

/// The future of a reply. Dropping it tells the task that nobody waits.
#[must_use = "dropping a call cancels its request"]
pub struct Call<T> {
    state: CallState,
    map: fn(Bytes) -> Result<T>,
    value: PhantomData<fn() -> T>,
}

impl<T> Call<T> {
    pub(super) fn failed(status: Status, map: fn(Bytes) -> Result<T>) -> Self {
        Self {
            state: CallState::Refused(status),
            map,
            value: PhantomData,
        }
    }

    /// Why the request was not even queued, if it was not.
    #[must_use]
    pub fn refused(&self) -> Option<Status> {
        match &self.state {
            CallState::Refused(status) => Some(*status),
            _ => None,
        }
    }

    /// Lets the request run its course without anyone waiting; its error is lost.
    pub fn detach(mut self) {
        let state = core::mem::replace(&mut self.state, CallState::Finished);
        if let CallState::Waiting(request, _) = state {
            drop(request.waker().take());
        }
    }
}

impl<T> Unpin for Call<T> {}

impl<T> Future for Call<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let settled = if let CallState::Waiting(request, _) = &self.state {
            request.waker().register(cx.waker());
            match request.take_result() {
                None => return Poll::Pending,
                settled => settled,
            }
        } else {
            None
        };
        let result = match core::mem::replace(&mut self.state, CallState::Finished) {
            CallState::Waiting(request, shared) => {
                // A watch keeps its request.
                drop(request.waker().take());
                shared.spares.give(request);
                settled.unwrap_or(Err(status::CANCELLED))
            }
            CallState::Refused(status) => Err(status),
            CallState::Finished => Err(status::CANCELLED),
        };
        Poll::Ready(result.and_then(self.map))
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let CallState::Waiting(request, _) = &self.state {
            request.orphan();
            // Whoever waited may have to go before the reply comes.
            drop(request.waker().take());
        }
    }
}

/// A registered watch: a stream of "something changed, read again".
///
/// Fires coalesce. The first one follows registration at once. Dropping it unregisters it without
/// waiting; [`Watch::remove`] waits for the daemon.
pub struct Watch {
    client: Client,
    node: Arc<Node>,
    seen: u32,
}

impl Watch {
    /// Waits for a fire that was not yet reported.
    ///
    /// # Errors
    /// The daemon's refusal to register it again after a reconnection.
    pub async fn changed(&mut self) -> Result {
        let node = self.node.clone();
        let _waiting = Waiting(&node);
        core::future::poll_fn(|cx| {
            self.node.waker().register(cx.waker());
            if let Some(status) = self.node.refused() {
                return Poll::Ready(Err(status));
            }
            let fires = self.node.fires();
            if fires == self.seen {
                return Poll::Pending;
            }
            self.seen = fires;
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Its entry in the table.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Unregisters the watch: no fire is reported once this returns; ready when the daemon has
    /// forgotten it too.
    pub fn remove(self) -> Call<()> {
        match self.unlist() {
            Some(request) => self.client.submit(Ok(request), Admission::Cleanup, ignore),
            None => Call {
                state: CallState::Finished,
                map: ignore,
                value: PhantomData,
            },
        }
    }

    /// Unlists the watch; the request to send as UNWATCH, if the daemon knows the watch.
    fn unlist(&self) -> Option<Arc<Request>> {
        if !self.client.shared.watches.remove(&self.node) {
            return None;
        }
        let request = self.node.take_kept()?;
        // Still on its way: if the daemon agrees, the task undoes it.
        request
            .claim(Kind::WATCH, Kind::UNWATCH, true)
            .then_some(request)
    }
}

/// A wait for a fire: leaves no waker behind, however it ends.
struct Waiting<'a>(&'a Node);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        drop(self.0.waker().take());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(request) = self.unlist() {
            let _ = self.client.shared.submit(&request, Admission::Cleanup);
        }
    }
}
