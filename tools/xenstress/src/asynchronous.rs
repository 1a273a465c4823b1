// SPDX-License-Identifier: BSD-2-Clause
//! Place `async`: the asynchronous interface, whose requests are futures of tasks in DPCs.

use kexec::{Duration, Timers};
use workload::{Client, Error, Names, Result, Transaction, Watch};
use xenbus_interface::client;
use xenbus_interface::client::Store;
use xenbus_interface::store::{PERM_NONE, PERM_READ, Permission};

use crate::place::error;

/// The client; one for each worker.
pub(crate) struct Asynchronous<'a> {
    pub(crate) store: &'a Store,
    pub(crate) timers: &'a Timers,
}

/// Names of children.
pub(crate) struct Children(client::Names);

impl Names for Children {
    fn each(&self, each: impl FnMut(&str)) {
        self.0.iter().for_each(each);
    }
}

impl<'a> Client for Asynchronous<'a> {
    type Value = client::Value;
    type Names = Children;
    type Transaction = Open<'a>;
    type Watch = Watched<'a>;

    async fn read(&self, path: &str) -> Result<client::Value> {
        self.store.read(path).await.map_err(error)
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        self.store.write(path, value).await.map_err(error)
    }

    async fn remove(&self, path: &str) -> Result {
        self.store.remove(path).await.map_err(error)
    }

    async fn directory(&self, path: &str) -> Result<Children> {
        self.store
            .directory(path)
            .await
            .map(Children)
            .map_err(error)
    }

    async fn set_permissions(&self, path: &str, owner: u16, readable: bool) -> Result {
        let entries = [permission(owner, readable)];
        let set = self.store.set_permissions(path, &entries);
        set.await.map_err(error)
    }

    async fn begin(&self) -> Result<Open<'a>> {
        self.store.start().await.map(Open).map_err(error)
    }

    async fn watch(&self, path: &str) -> Result<Watched<'a>> {
        let watch = self.store.watch(path).map_err(error)?;
        Ok(Watched {
            watch,
            timers: self.timers,
        })
    }
}

/// The owner's entry, whose mask is everybody else's access.
pub(crate) fn permission(owner: u16, readable: bool) -> Permission {
    Permission {
        domain: owner,
        mask: if readable { PERM_READ } else { PERM_NONE },
    }
}

/// A transaction.
pub(crate) struct Open<'a>(client::Transaction<'a>);

impl Transaction for Open<'_> {
    type Value = client::Value;

    async fn read(&self, path: &str) -> Result<client::Value> {
        self.0.read(path).await.map_err(error)
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        self.0.write(path, value).await.map_err(error)
    }

    async fn end(self, commit: bool) -> Result {
        match commit {
            true => self.0.commit().await,
            false => self.0.abort().await,
        }
        .map_err(error)
    }
}

/// A watch.
pub(crate) struct Watched<'a> {
    watch: client::Watch<'a>,
    timers: &'a Timers,
}

impl Watch for Watched<'_> {
    async fn changed(&mut self, limit: u32) -> Result {
        let limit = Duration::from_millis(limit.into());
        match self.timers.timeout(limit, self.watch.changed()).await {
            Ok(changed) => changed.map_err(error),
            Err(_) => Err(Error::TimedOut),
        }
    }
}
