// SPDX-License-Identifier: BSD-2-Clause
//! STORE version 2: what each method promises beyond the request it sends.
//!
//! `<= DISPATCH_LEVEL`, never from a callback of the store. Handles are consumed by the call that ends
//! them whatever its result: nothing can be left that Release would trip over.

use kexec::{DpcExecutor, Result, Status};

use super::printf::{self, Arguments};
use super::wait;
use crate::status;
use crate::store::bytes::Bytes;
use crate::store::client::{Call, Client, Watch};
use crate::store::request::Callback;
use crate::store::task::DISPATCH_LIMIT;
use crate::store::transaction::Transaction;
use crate::store::watch::Target;
use crate::store::wire::{Path, Permission};

/// Tasks of the store's executor polled by a caller that has just made a request: the store's own, and a few that were ready.
const POLLS: usize = 4;

/// The store as a blocking caller sees it.
#[derive(Clone, Copy)]
pub struct Store<'a> {
    client: &'a Client,
    executor: &'a DpcExecutor,
}

/// A watch of the interface, and the connection that it was registered with.
pub struct LegacyWatch {
    watch: Watch,
    epoch: u32,
}

/// What a requester gets in a buffer: the bytes and two NULs.
pub struct Text(Bytes);

impl Text {
    /// The bytes, and the NULs.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.0, b"\0\0"]
    }
}

impl<'a> Store<'a> {
    /// `executor` is the one that runs the store's task.
    #[must_use]
    pub fn new(client: &'a Client, executor: &'a DpcExecutor) -> Self {
        Self { client, executor }
    }

    fn wait<T>(&self, make: impl FnOnce(&Client) -> Call<T>) -> Result<T> {
        let shared = self.client.shared();
        let call = if kexec::Apc::here().is_some() {
            let call = make(&self.client.quiet());
            // The task runs here and now: a DPC would only be one more interrupt.
            self.executor.run_with(POLLS, || shared.kick());
            call
        } else {
            // It cannot wait for a suspend, and none can come in between.
            shared.unpause();
            // Whoever may not wait is held to the small limit of the queue.
            make(&self.client.synchronous().quiet())
        };
        wait(self.executor, DISPATCH_LIMIT, call, || shared.kick())?
    }

    /// StoreRead: the value and two NULs.
    ///
    /// # Errors
    /// The store's.
    pub fn read(
        &self,
        tx: Option<&Transaction>,
        prefix: Option<&[u8]>,
        node: &[u8],
    ) -> Result<Text> {
        let path = Path::new(prefix, node)?;
        self.wait(|client| client.read(tx, path)).map(Text)
    }

    /// StorePrintf: at most 1023 characters, stored without a NUL.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE` for a longer result; the formatter's; the store's.
    pub fn printf(
        &self,
        tx: Option<&Transaction>,
        prefix: Option<&[u8]>,
        node: &[u8],
        format: impl Iterator<Item = u8>,
        arguments: &mut impl Arguments,
    ) -> Result {
        let path = Path::new(prefix, node)?;
        let text = printf::format(format, arguments)?;
        self.wait(|client| client.write(tx, path, &text))
    }

    /// StorePermissionsSet.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a mask above 3; the store's.
    pub fn permissions_set(
        &self,
        tx: Option<&Transaction>,
        prefix: Option<&[u8]>,
        node: &[u8],
        permissions: &[Permission],
    ) -> Result {
        let path = Path::new(prefix, node)?;
        self.wait(|client| client.set_permissions(tx, path, permissions))
    }

    /// StoreRemove.
    ///
    /// # Errors
    /// The store's.
    pub fn remove(&self, tx: Option<&Transaction>, prefix: Option<&[u8]>, node: &[u8]) -> Result {
        let path = Path::new(prefix, node)?;
        self.wait(|client| client.remove(tx, path))
    }

    /// StoreDirectory: names with a NUL each, then one more.
    ///
    /// # Errors
    /// `OBJECT_PATH_NOT_FOUND` for a node without children, which is not an empty list here; the
    /// store's.
    pub fn directory(
        &self,
        tx: Option<&Transaction>,
        prefix: Option<&[u8]>,
        node: &[u8],
    ) -> Result<Text> {
        let path = Path::new(prefix, node)?;
        let names = self.wait(|client| client.directory(tx, path))?;
        if names.is_empty() {
            return Err(status::OBJECT_PATH_NOT_FOUND);
        }
        Ok(Text(names))
    }

    /// StoreTransactionStart.
    ///
    /// # Errors
    /// The store's.
    pub fn transaction_start(&self) -> Result<Transaction> {
        let client = if kexec::Apc::here().is_some() {
            self.client.clone()
        } else {
            self.client.synchronous()
        };
        let shared = client.shared();
        if kexec::Apc::here().is_none() {
            shared.unpause();
        }
        let start = client.start_transaction();
        wait(self.executor, DISPATCH_LIMIT, start, || shared.kick())?
    }

    /// StoreTransactionEnd. The handle is gone whatever the result.
    ///
    /// # Errors
    /// `RETRY` on a conflict, and for a transaction of before a suspend; the store's.
    pub fn transaction_end(&self, tx: Transaction, commit: bool) -> Result {
        self.wait(|_| if commit { tx.commit() } else { tx.abort() })
    }

    /// StoreWatchAdd: `signal` is made from the store's task each time the watch fires.
    ///
    /// # Errors
    /// The store's; the watch is not listed then.
    pub fn watch_add(
        &self,
        prefix: Option<&[u8]>,
        node: &[u8],
        signal: Callback,
    ) -> Result<LegacyWatch> {
        let path = Path::new(prefix, node)?;
        let epoch = self.client.shared().epoch();
        let (watch, call) = self
            .client
            .quiet()
            .watch_for(path, Target::Signal(signal))?;
        self.wait(|_| call)?;
        Ok(LegacyWatch { watch, epoch })
    }

    /// StoreWatchRemove: no signal once this returns. The handle is gone whatever the result.
    ///
    /// # Errors
    /// The store's.
    pub fn watch_remove(&self, watch: LegacyWatch) -> Result {
        let epoch = watch.epoch;
        match self.wait(|_| watch.watch.remove()) {
            // A watch of an earlier connection is only local.
            Err(Status::OBJECT_NAME_NOT_FOUND) if epoch != self.client.shared().epoch() => Ok(()),
            result => result,
        }
    }

    /// StorePoll: services the ring on this processor.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL.
    pub fn poll(&self) {
        self.client.shared().kick();
        // Another processor is at it already, or this one is: nothing to do.
        let _ = self.executor.drive(64);
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
