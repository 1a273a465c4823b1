// SPDX-License-Identifier: BSD-2-Clause
//! The client that workloads run over: the connection with many requests on their way.

use std::time::Duration;

use workload::{Client, Error, Names, Result};

use crate::listing::list;
use crate::mux::{Mux, Watch};
use crate::wire::{Answer, Op, Refused};

/// The store at the other end of a connection.
pub(crate) struct Store {
    pub(crate) mux: Mux,
    /// How long a watch may take for each millisecond that the workload gives it.
    pub(crate) millisecond: Duration,
}

impl Store {
    pub(crate) fn new(mux: Mux) -> Self {
        Self {
            mux,
            millisecond: Duration::from_millis(1),
        }
    }

    /// The store of a worker beside others.
    ///
    /// # Errors
    /// No further connection can be opened.
    pub(crate) fn beside(&self) -> crate::Result<Self> {
        Ok(Self {
            mux: self.mux.beside()?,
            millisecond: self.millisecond,
        })
    }
}

/// In the workload's terms. What broke the connection is told once, by [`Mux::broken`].
fn told<T>(answer: Answer<T>) -> Result<T> {
    answer.map_err(|refused| match refused {
        Refused::Name(name) => Error::from_name(&name),
        Refused::Broken(_) => Error::Other,
    })
}

/// A path or another word, with the NUL that ends it.
fn path(path: &str) -> [&[u8]; 2] {
    [path.as_bytes(), b"\0"]
}

async fn write(mux: &Mux, transaction: u32, path: &str, value: &[u8]) -> Result {
    let parts = [path.as_bytes(), b"\0", value];
    told(mux.call(Op::Write, transaction, &parts).await).map(drop)
}

impl Client for Store {
    type Value = Vec<u8>;
    type Names = List;
    type Transaction = Transaction;
    type Watch = Fires;

    async fn read(&self, node: &str) -> Result<Vec<u8>> {
        told(self.mux.call(Op::Read, 0, &path(node)).await)
    }

    async fn write(&self, node: &str, value: &[u8]) -> Result {
        write(&self.mux, 0, node, value).await
    }

    async fn remove(&self, node: &str) -> Result {
        told(self.mux.call(Op::Rm, 0, &path(node)).await).map(drop)
    }

    async fn directory(&self, node: &str) -> Result<List> {
        told(list(&self.mux, node).await).map(List)
    }

    async fn set_permissions(&self, node: &str, owner: u16, readable: bool) -> Result {
        let perm = format!("{}{owner}", if readable { 'r' } else { 'n' });
        let [node, nul] = path(node);
        let parts = [node, nul, perm.as_bytes(), nul];
        told(self.mux.call(Op::SetPerms, 0, &parts).await).map(drop)
    }

    async fn begin(&self) -> Result<Transaction> {
        let id = told(self.mux.call(Op::TransactionStart, 0, &[b"\0"]).await)?;
        let id = std::str::from_utf8(&id).ok();
        let id = id.and_then(|id| id.trim_end_matches('\0').parse().ok());
        Ok(Transaction {
            mux: self.mux.clone(),
            id: id.ok_or(Error::Other)?,
            ended: false,
        })
    }

    async fn watch(&self, node: &str) -> Result<Fires> {
        Ok(Fires {
            watch: told(self.mux.watch(node).await)?,
            millisecond: self.millisecond,
        })
    }
}

/// Names of children.
pub(crate) struct List(Vec<String>);

impl Names for List {
    fn each(&self, each: impl FnMut(&str)) {
        self.0.iter().map(String::as_str).for_each(each);
    }
}

/// An open transaction.
pub(crate) struct Transaction {
    mux: Mux,
    id: u32,
    ended: bool,
}

impl workload::Transaction for Transaction {
    type Value = Vec<u8>;

    async fn read(&self, node: &str) -> Result<Vec<u8>> {
        told(self.mux.call(Op::Read, self.id, &path(node)).await)
    }

    async fn write(&self, node: &str, value: &[u8]) -> Result {
        write(&self.mux, self.id, node, value).await
    }

    async fn end(mut self, commit: bool) -> Result {
        // Whatever the answer is: the daemon then has no such transaction any more.
        self.ended = true;
        let how = if commit { b"T\0" } else { b"F\0" };
        told(self.mux.call(Op::TransactionEnd, self.id, &[how]).await).map(drop)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            // Goes out by itself; nobody waits for the answer.
            drop(self.mux.call(Op::TransactionEnd, self.id, &[b"F\0"]));
        }
    }
}

/// A watch.
pub(crate) struct Fires {
    watch: Watch,
    millisecond: Duration,
}

impl workload::Watch for Fires {
    async fn changed(&mut self, limit: u32) -> Result {
        match told(self.watch.changed(self.millisecond * limit).await)? {
            true => Ok(()),
            false => Err(Error::TimedOut),
        }
    }
}
