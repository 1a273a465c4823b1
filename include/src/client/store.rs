// SPDX-License-Identifier: BSD-2-Clause
//! The store: values, directories, transactions, watches.
//!
//! Paths are absolute, or relative to the domain's own. Dropping a future of this module cancels its
//! request; whether it was carried out is then unknown, as it is whenever an answer is not awaited.
//!
//! A bus without the asynchronous table, such as the C package's, is served all the same: through the published, blocking one, on
//! two threads that the store starts ([`Kind`]).

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;
use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag, Vec};
use kexec::{Passive, Result, Status, error, info};

use super::blocking::{self, Blocking};
use super::value::{Names, Permissions, Value};
use crate::ffi::published::{Open, Published};
use crate::ffi::query::query;
use crate::ffi::request::{Bus, Reply, Submission};
use crate::ffi::watch::Registration;
use crate::store::{Permission, StoreV2};
use crate::store_async as table;
use crate::store_async::AsyncStoreV1;

/// Commits that one [`Store::transaction`] tries.
const ATTEMPTS: usize = 10;

/// What a [`Store`] is made of.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `XENBUS_ASYNC_STORE`: any number of requests outstanding, nothing waits.
    Asynchronous,
    /// The published STORE version 2: one request at a time, on a thread. Permissions cannot be read
    /// (`STATUS_NOT_SUPPORTED`); a value that is written has at most 1023 bytes and no NUL, one that is read ends at its first
    /// NUL; a watch may fire when nothing has changed.
    Published,
}

/// A reference to the bus driver's store.
///
/// One of [`Kind::Published`] is dropped at PASSIVE_LEVEL.
#[derive(Debug)]
pub struct Store {
    back: Back,
    tag: Tag,
}

#[derive(Debug)]
enum Back {
    Asynchronous(Bus),
    Published(Blocking),
}

impl Store {
    /// Asks the device below for the store and takes a reference: for the asynchronous table, and, where there is none, for the
    /// published one. `tag` is that of the pool blocks that watches, and requests of the latter, need.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`, or `STATUS_REVISION_MISMATCH`, after a line in the log: the bus driver has neither, or other versions
    /// of them.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(tag: Tag, below: DevicePtr, passive: Passive) -> Result<Self> {
        let asynchronous = match query::<AsyncStoreV1>(below, passive) {
            Err(Status::NOT_SUPPORTED | Status::REVISION_MISMATCH) => None,
            answer => Some(answer?),
        };
        #[expect(unsafe_code, reason = "states where the table comes from")]
        if let Some(table) = asynchronous {
            // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while
            // its child is attached, which outlives this reference.
            return unsafe { Self::from_table(tag, table) };
        }
        let table = query::<StoreV2>(below, passive).inspect_err(|status| {
            error!("store: the bus has neither XENBUS_ASYNC_STORE 1 nor STORE 2, {status}");
        })?;
        info!("store: the bus has no XENBUS_ASYNC_STORE, STORE 2 is called on a thread");
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: as above.
        unsafe {
            Self::from_published(tag, table, passive)
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
        let back = Back::Asynchronous(bus);
        Ok(Self { back, tag })
    }

    /// Takes a reference to a store of which only the published table is at hand, and starts its threads.
    ///
    /// # Safety
    /// As [`Self::from_table`].
    ///
    /// # Errors
    /// The provider's status; out of memory.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_published(tag: Tag, table: StoreV2, passive: Passive) -> Result<Self> {
        // SAFETY: by the contract.
        let store = unsafe { Published::acquire(table)? };
        let back = Back::Published(Blocking::try_new(tag, store, passive)?);
        Ok(Self { back, tag })
    }

    /// What it is made of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.back {
            Back::Asynchronous(_) => Kind::Asynchronous,
            Back::Published(_) => Kind::Published,
        }
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
        self.request(table::OP_READ, None, path, &[]).await
    }

    /// Writes a node; creates it and its parents if need be.
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result {
        self.request(table::OP_WRITE, None, path, value.as_ref())
            .await
    }

    /// Removes a node and all below it.
    pub async fn remove(&self, path: &str) -> Result {
        self.request(table::OP_REMOVE, None, path, &[]).await
    }

    /// Lists a node's children. A node without any has an empty list.
    pub async fn directory(&self, path: &str) -> Result<Names> {
        self.request(table::OP_DIRECTORY, None, path, &[]).await
    }

    /// Reads a node's permissions.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`: the bus driver is older than the operation.
    pub async fn permissions(&self, path: &str) -> Result<Permissions> {
        self.request(table::OP_PERMISSIONS_GET, None, path, &[])
            .await
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
        self.request(table::OP_PERMISSIONS_SET, None, path, &entries)
            .await
    }

    /// Starts a transaction that its owner commits, and tries again on a conflict.
    pub async fn start(&self) -> Result<Transaction<'_>> {
        let identity = match &self.back {
            Back::Asynchronous(bus) => {
                let start = Submission::new(bus, table::OP_TRANSACTION_START, 0, &[], &[]);
                Identity::Number(start.await?)
            }
            Back::Published(blocking) => Identity::Handle(blocking.start().await?),
        };
        Ok(Transaction {
            store: self,
            identity: Some(identity),
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
        let path = path.as_bytes();
        Ok(Watch(match &self.back {
            Back::Asynchronous(bus) => {
                Watched::Asynchronous(Registration::try_new(bus, self.tag, path)?)
            }
            Back::Published(blocking) => Watched::Published(blocking.watch(path)?),
        }))
    }

    async fn request<T: Reply + Send + 'static>(
        &self,
        operation: u32,
        transaction: Option<&Identity>,
        path: &str,
        value: &[u8],
    ) -> Result<T> {
        let path = path.as_bytes();
        match (&self.back, transaction) {
            (Back::Asynchronous(bus), None) => {
                Submission::new(bus, operation, 0, path, value).await
            }
            (Back::Asynchronous(bus), Some(Identity::Number(number))) => {
                Submission::new(bus, operation, *number, path, value).await
            }
            (Back::Published(blocking), None) => {
                blocking.request(operation, None, path, value).await
            }
            (Back::Published(blocking), Some(Identity::Handle(open))) => {
                blocking.request(operation, Some(open), path, value).await
            }
            _ => Err(Status::INVALID_DEVICE_STATE),
        }
    }
}

/// A transaction. What is read and written through it is seen by others all at once or not at all.
///
/// Dropped without an end it is aborted, by a request that nobody waits for.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    /// `None` once it is void.
    identity: Option<Identity>,
}

/// What a transaction is to the bus.
#[derive(Debug)]
enum Identity {
    /// Of the asynchronous table.
    Number(u64),
    /// Of the published one.
    Handle(Arc<Open>),
}

impl Transaction<'_> {
    async fn request<T: Reply + Send + 'static>(
        &self,
        operation: u32,
        path: &str,
        value: &[u8],
    ) -> Result<T> {
        // Only the end takes it out.
        let identity = self.identity.as_ref();
        let identity = identity.ok_or(Status::INVALID_DEVICE_STATE)?;
        let request = self.store.request(operation, Some(identity), path, value);
        request.await
    }

    /// Reads a node; see [`Store::read`].
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.request(table::OP_READ, path, &[]).await
    }

    /// Writes a node; see [`Store::write`].
    pub async fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result {
        self.request(table::OP_WRITE, path, value.as_ref()).await
    }

    /// Removes a node; see [`Store::remove`].
    pub async fn remove(&self, path: &str) -> Result {
        self.request(table::OP_REMOVE, path, &[]).await
    }

    /// Lists a node's children; see [`Store::directory`].
    pub async fn directory(&self, path: &str) -> Result<Names> {
        self.request(table::OP_DIRECTORY, path, &[]).await
    }

    /// Commits.
    ///
    /// # Errors
    /// `STATUS_RETRY`: somebody changed what was read or written here, or the store was reconnected;
    /// nothing of the transaction was carried out.
    pub async fn commit(self) -> Result {
        self.end(true).await
    }

    /// Aborts.
    pub async fn abort(self) -> Result {
        self.end(false).await
    }

    async fn end(mut self, commit: bool) -> Result {
        let (operation, store) = match commit {
            true => (table::OP_TRANSACTION_COMMIT, self.store),
            false => (table::OP_TRANSACTION_ABORT, self.store),
        };
        let result = match (&store.back, &self.identity) {
            (Back::Published(blocking), Some(Identity::Handle(open))) => {
                blocking.end(open.clone(), commit).await
            }
            // Dropped while it waits, this future cancels the request, and `drop` below aborts: an
            // identity that is void by then is refused, which does no harm.
            _ => self.request(operation, "", &[]).await,
        };
        self.identity = None;
        result
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        match (self.identity.take(), &self.store.back) {
            (Some(Identity::Number(number)), Back::Asynchronous(bus)) => {
                bus.submit_detached(table::OP_TRANSACTION_ABORT, number);
            }
            (Some(Identity::Handle(open)), Back::Published(blocking)) => blocking.give_back(open),
            _ => {}
        }
    }
}

/// A watch: a stream of "something changed", where changes that were not looked at yet are one.
///
/// The first item comes soon after registration, before any change. At least one follows each change,
/// so whoever reads again after every item misses nothing but what was overwritten. Dropping it ends
/// the watch.
#[derive(Debug)]
pub struct Watch<'a>(Watched<'a>);

#[derive(Debug)]
enum Watched<'a> {
    Asynchronous(Registration<'a>),
    Published(blocking::Registration<'a>),
}

impl Watch<'_> {
    /// Waits for the next change. Cancel-safe. One task waits at a time.
    ///
    /// # Errors
    /// The daemon refused the watch, or the connection ended for good; each further call says so too.
    pub async fn changed(&self) -> Result {
        match &self.0 {
            Watched::Asynchronous(watch) => watch.changed().await,
            Watched::Published(watch) => watch.changed().await,
        }
    }
}

impl Stream for Watch<'_> {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let changed = match &self.0 {
            Watched::Asynchronous(watch) => watch.poll_changed(cx),
            Watched::Published(watch) => watch.poll_changed(cx),
        };
        changed.map(Result::ok)
    }
}
