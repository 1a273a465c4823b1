// SPDX-License-Identifier: BSD-2-Clause
//! Transactions, and the loop that retries them.
//!
//! A transaction is an id of one connection. Ending it reuses the block that started it, so aborting
//! needs no memory; dropping one aborts it. `<= DISPATCH_LEVEL`.

use kexec::nt::Arc;
use kexec::{DpcExecutor, Duration, Instant, Result};

use super::client::{Call, Client, ignore};
use super::queue::Admission;
use super::request::Request;
use super::wire::Kind;
use crate::status;

/// An open transaction.
pub struct Transaction {
    client: Client,
    /// The START request: it will carry END.
    request: Option<Arc<Request>>,
    id: u32,
    epoch: u32,
}

impl Transaction {
    /// A transaction whose START is about to be submitted.
    pub(super) fn new(client: Client, request: Arc<Request>, epoch: u32) -> Self {
        Self {
            client,
            request: Some(request),
            id: 0,
            epoch,
        }
    }

    /// Takes the id from the finished START.
    pub(super) fn started(&mut self) -> Result {
        self.id = self
            .request
            .as_ref()
            .and_then(|request| request.started())
            .ok_or(status::DEVICE_PROTOCOL_ERROR)?;
        Ok(())
    }

    /// The id on the wire and the connection it belongs to.
    #[must_use]
    pub fn wire_id(&self) -> (u32, u32) {
        (self.id, self.epoch)
    }

    /// Commits. `RETRY`: somebody changed what was read or written; do it all again.
    pub fn commit(self) -> Call<()> {
        self.end(true)
    }

    /// Forgets all that was done.
    pub fn abort(self) -> Call<()> {
        self.end(false)
    }

    fn end(mut self, commit: bool) -> Call<()> {
        let Some(request) = self.request.take() else {
            return Call::failed(status::INVALID_PARAMETER, ignore);
        };
        if self.epoch != self.client.shared().epoch() {
            return Call::failed(status::RETRY, ignore);
        }
        if !request.claim(Kind::TRANSACTION_START, Kind::TRANSACTION_END, false) {
            return Call::failed(status::INVALID_PARAMETER, ignore);
        }
        request.set_end(self.id, commit);
        self.client.submit(Ok(request), Admission::Cleanup, ignore)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        // Still on its way: the task undoes it. The daemon of another connection has forgotten it.
        if request.abandon_start() && self.epoch == self.client.shared().epoch() {
            let _ = self.client.shared().submit(&request, Admission::Cleanup);
        }
    }
}

/// First pause after a conflict; it doubles, with a random part.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

impl Client {
    /// Runs `body` in a transaction and commits it, again after each conflict, `attempts` times at
    /// most. Any other error of `body` or of the commit aborts and is returned.
    ///
    /// # Errors
    /// `RETRY` when every attempt met a conflict; else the first error.
    pub async fn transaction<T, F>(
        &self,
        executor: &DpcExecutor,
        attempts: u32,
        body: F,
    ) -> Result<T>
    where
        F: AsyncFn(&Transaction) -> Result<T>,
    {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=attempts {
            let tx = match self.start_transaction().await {
                // A suspend came in between.
                Err(status::RETRY) if attempt < attempts => continue,
                started => started?,
            };
            let value = match body(&tx).await {
                Ok(value) => value,
                Err(status) => {
                    // The body's error is what counts.
                    let _ = tx.abort().await;
                    return Err(status);
                }
            };
            match tx.commit().await {
                Ok(()) => return Ok(value),
                Err(status::RETRY) if attempt < attempts => {
                    executor.sleep(jitter(pause)).await;
                    pause = Duration::from_ticks(pause.ticks() * 2).min(LONGEST_PAUSE);
                }
                Err(status) => return Err(status),
            }
        }
        Err(status::RETRY)
    }
}

/// Half to one and a half of `pause`, so that two losers do not meet again.
fn jitter(pause: Duration) -> Duration {
    let noise = Instant::now().ticks().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let ticks = pause.ticks();
    Duration::from_ticks(ticks / 2 + noise % ticks.max(1))
}
