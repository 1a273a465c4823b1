// SPDX-License-Identifier: BSD-2-Clause
//! The store: values, directories, transactions, watches.
//!
//! Paths are absolute, or relative to the domain's own. Dropping a future of this module cancels its
//! request; whether it was carried out is then unknown, as it is whenever an answer is not awaited.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Tag, Vec};
use kexec::{Passive, Result, Status};

use super::value::{Names, Permissions, Value};
use crate::ffi::query::query;
use crate::ffi::request::{Bus, Reply, Submission};
use crate::ffi::watch::Registration;
use crate::store::Permission;
use crate::store_async as table;
use crate::store_async::AsyncStoreV1;

/// Commits that one [`Store::transaction`] tries.
const ATTEMPTS: usize = 10;

/// A reference to the bus driver's store.
#[derive(Debug)]
pub struct Store {
    bus: Bus,
    tag: Tag,
}

impl Store {
    /// Asks the device below for the store and takes a reference. `tag` is that of the pool blocks
    /// that watches need.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`: the bus driver has no asynchronous store.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(tag: Tag, below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<AsyncStoreV1>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while
        // its child is attached, which outlives this reference.
        unsafe {
            Self::from_table(tag, table)
        }
    }

    /// Takes a reference to a store whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is
    /// held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(tag: Tag, table: AsyncStoreV1) -> Result<Self> {
        // SAFETY: by the contract.
        let bus = unsafe { Bus::acquire(table)? };
        Ok(Self { bus, tag })
    }

    /// The tag of pool blocks that are made for this store's user.
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    /// Reads a node.
    ///
    /// # Errors
    /// `STATUS_OBJECT_NAME_NOT_FOUND`: there is no such node.
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.request(table::OP_READ, 0, path, &[]).await
    }

    /// Writes a node; creates it and its parents if need be.
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result {
        self.request(table::OP_WRITE, 0, path, value.as_ref()).await
    }

    /// Removes a node and all below it.
    pub async fn remove(&self, path: &str) -> Result {
        self.request(table::OP_REMOVE, 0, path, &[]).await
    }

    /// Lists a node's children. A node without any has an empty list.
    pub async fn directory(&self, path: &str) -> Result<Names> {
        self.request(table::OP_DIRECTORY, 0, path, &[]).await
    }

    /// Reads a node's permissions.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`: the bus driver is older than the operation.
    pub async fn permissions(&self, path: &str) -> Result<Permissions> {
        self.request(table::OP_PERMISSIONS_GET, 0, path, &[]).await
    }

    /// Sets a node's permissions; the first entry names the owner.
    ///
    /// # Errors
    /// `STATUS_INVALID_PARAMETER` for none at all, or for a mask above 3.
    pub async fn set_permissions(&self, path: &str, permissions: &[Permission]) -> Result {
        let mut entries = Vec::new(self.tag);
        for Permission { domain, mask } in permissions {
            let ([d0, d1], [m0, m1, m2, m3]) = (domain.to_le_bytes(), mask.to_le_bytes());
            entries.try_extend_from_slice(&[d0, d1, 0, 0, m0, m1, m2, m3])?;
        }
        self.request(table::OP_PERMISSIONS_SET, 0, path, &entries)
            .await
    }

    /// Starts a transaction that its owner commits, and tries again on a conflict.
    pub async fn start(&self) -> Result<Transaction<'_>> {
        let identity = self
            .request(table::OP_TRANSACTION_START, 0, "", &[])
            .await?;
        Ok(Transaction {
            store: self,
            identity,
        })
    }

    /// Runs `body` in a transaction and commits it; again, from the start, when somebody else was
    /// faster. An error of the body aborts. Only values that the body read in the transaction count,
    /// so it must read them anew each time.
    ///
    /// The body gets the transaction and gives it back with its result: a future that borrowed it
    /// for any lifetime could not be proven `Send`, which tasks are.
    ///
    /// # Errors
    /// The body's; the store's; `STATUS_RETRY` when there were too many conflicts.
    pub async fn transaction<'a, T, F>(
        &'a self,
        mut body: impl FnMut(Transaction<'a>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<(Transaction<'a>, T)>>,
    {
        for _ in 0..ATTEMPTS {
            // An error drops the transaction, which aborts it.
            let transaction = match self.start().await {
                // A suspend came in between.
                Err(Status::RETRY) => continue,
                started => started?,
            };
            let (transaction, value) = body(transaction).await?;
            match transaction.commit().await {
                Ok(()) => return Ok(value),
                Err(Status::RETRY) => {}
                Err(status) => return Err(status),
            }
        }
        Err(Status::RETRY)
    }

    /// Watches a node and all below it.
    ///
    /// # Errors
    /// Out of memory; a path that is too long. What the daemon says comes with the first change.
    pub fn watch(&self, path: &str) -> Result<Watch<'_>> {
        Registration::try_new(&self.bus, self.tag, path.as_bytes()).map(Watch)
    }

    fn request<'a, T: Reply>(
        &'a self,
        operation: u32,
        transaction: u64,
        path: &'a str,
        value: &'a [u8],
    ) -> Submission<'a, T> {
        Submission::new(&self.bus, operation, transaction, path.as_bytes(), value)
    }
}

/// A transaction. What is read and written through it is seen by others all at once or not at all.
///
/// Dropped without an end it is aborted, by a request that nobody waits for.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    /// 0 once it is void.
    identity: u64,
}

impl Transaction<'_> {
    /// Reads a node; see [`Store::read`].
    pub async fn read(&self, path: &str) -> Result<Value> {
        let (store, identity) = (self.store, self.identity);
        store.request(table::OP_READ, identity, path, &[]).await
    }

    /// Writes a node; see [`Store::write`].
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result {
        let (store, identity) = (self.store, self.identity);
        store
            .request(table::OP_WRITE, identity, path, value.as_ref())
            .await
    }

    /// Removes a node; see [`Store::remove`].
    pub async fn remove(&self, path: &str) -> Result {
        let (store, identity) = (self.store, self.identity);
        store.request(table::OP_REMOVE, identity, path, &[]).await
    }

    /// Lists a node's children; see [`Store::directory`].
    pub async fn directory(&self, path: &str) -> Result<Names> {
        let (store, identity) = (self.store, self.identity);
        store
            .request(table::OP_DIRECTORY, identity, path, &[])
            .await
    }

    /// Commits.
    ///
    /// # Errors
    /// `STATUS_RETRY`: somebody changed what was read or written here, or the store was reconnected;
    /// nothing of the transaction was carried out.
    pub async fn commit(self) -> Result {
        self.end(table::OP_TRANSACTION_COMMIT).await
    }

    /// Aborts.
    pub async fn abort(self) -> Result {
        self.end(table::OP_TRANSACTION_ABORT).await
    }

    async fn end(mut self, operation: u32) -> Result {
        // Dropped while it waits, this future cancels the request, and `drop` below aborts: an
        // identity that is void by then is refused, which does no harm.
        let result = self.store.request(operation, self.identity, "", &[]).await;
        self.identity = 0;
        result
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.identity != 0 {
            let bus = &self.store.bus;
            bus.submit_detached(table::OP_TRANSACTION_ABORT, self.identity);
        }
    }
}

/// A watch: a stream of "something changed", where changes that were not looked at yet are one.
///
/// The first item comes soon after registration, before any change. At least one follows each change,
/// so whoever reads again after every item misses nothing but what was overwritten. Dropping it ends
/// the watch.
#[derive(Debug)]
pub struct Watch<'a>(Registration<'a>);

impl Watch<'_> {
    /// Waits for the next change. Cancel-safe. One task waits at a time.
    ///
    /// # Errors
    /// The daemon refused the watch, or the connection ended for good; each further call says so too.
    pub async fn changed(&self) -> Result {
        self.0.changed().await
    }
}

impl Stream for Watch<'_> {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll_changed(cx).map(Result::ok)
    }
}
