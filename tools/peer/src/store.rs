// SPDX-License-Identifier: BSD-2-Clause
//! A xenstore client of its own over xenstored's socket, sharing no code with the drivers' client.
//!
//! One request at a time. Watch events that come between request and reply are kept in order.

use std::time::Duration;

use crate::listing::list;
use crate::mux::{Event, Mux};
use crate::wire::{Answer, Op, Refused};
use crate::{Failure, Result};

/// The connection.
pub(crate) struct Store(Mux);

impl Store {
    /// Connects.
    pub(crate) fn connect() -> Result<Self> {
        Mux::connect().map(Self)
    }

    fn call(&mut self, op: Op, transaction: u32, parts: &[&[u8]]) -> Answer {
        self.0.run(self.0.call(op, transaction, parts))
    }

    /// Reads a value.
    pub(crate) fn read(&mut self, transaction: u32, path: &str) -> Answer {
        self.call(Op::Read, transaction, &[path.as_bytes(), b"\0"])
    }

    /// Writes a value, making the parents.
    pub(crate) fn write(&mut self, transaction: u32, path: &str, value: &[u8]) -> Answer<()> {
        self.call(Op::Write, transaction, &[path.as_bytes(), b"\0", value])
            .map(drop)
    }

    /// Makes an empty node.
    pub(crate) fn mkdir(&mut self, path: &str) -> Answer<()> {
        self.call(Op::Mkdir, 0, &[path.as_bytes(), b"\0"]).map(drop)
    }

    /// Removes a node and all below it.
    pub(crate) fn rm(&mut self, path: &str) -> Answer<()> {
        self.call(Op::Rm, 0, &[path.as_bytes(), b"\0"]).map(drop)
    }

    /// Child names, however many.
    pub(crate) fn list(&mut self, path: &str) -> Answer<Vec<String>> {
        self.0.run(list(&self.0, path))
    }

    /// The permissions, each in xenstore's form; the owner's first.
    pub(crate) fn perms(&mut self, path: &str) -> Answer<Vec<String>> {
        let perms = self.call(Op::GetPerms, 0, &[path.as_bytes(), b"\0"])?;
        let perms = perms.split(|b| *b == 0).filter(|perm| !perm.is_empty());
        Ok(perms.map(|p| String::from_utf8_lossy(p).into()).collect())
    }

    /// Sets the permissions, each in xenstore's form such as `n5`; the first names the owner.
    pub(crate) fn set_perms(&mut self, path: &str, perms: &[String]) -> Answer<()> {
        let mut payload = path.as_bytes().to_vec();
        for perm in perms {
            payload.push(0);
            payload.extend(perm.as_bytes());
        }
        payload.push(0);
        self.call(Op::SetPerms, 0, &[&payload]).map(drop)
    }

    /// Introduces a domain to a daemon that does not know it: the frame of its page, and its port.
    pub(crate) fn introduce(&mut self, domid: u32, frame: u64, port: u32) -> Answer<()> {
        let payload = format!("{domid}\0{frame}\0{port}\0");
        self.call(Op::Introduce, 0, &[payload.as_bytes()]).map(drop)
    }

    /// Lets xenstored write what memory it has, and for what, to a file.
    pub(crate) fn memory_report(&mut self, file: &str) -> Answer {
        self.call(Op::Control, 0, &[b"memreport\0", file.as_bytes(), b"\0"])
    }

    /// Watches a path and what is below it.
    pub(crate) fn watch(&mut self, path: &str, token: &str) -> Answer<()> {
        self.call(
            Op::Watch,
            0,
            &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
        )
        .map(drop)
    }

    /// Ends a watch.
    pub(crate) fn unwatch(&mut self, path: &str, token: &str) -> Answer<()> {
        self.call(
            Op::Unwatch,
            0,
            &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
        )
        .map(drop)
    }

    /// Starts a transaction.
    pub(crate) fn start(&mut self) -> Answer<u32> {
        let id = self.call(Op::TransactionStart, 0, &[b"\0"])?;
        let text = String::from_utf8_lossy(&id);
        text.trim_end_matches('\0')
            .parse()
            .map_err(|_| Refused::Broken(format!("transaction id {text:?}")))
    }

    /// Commits or gives up a transaction.
    pub(crate) fn end(&mut self, transaction: u32, commit: bool) -> Answer<()> {
        self.call(
            Op::TransactionEnd,
            transaction,
            &[if commit { b"T\0" } else { b"F\0" }],
        )
        .map(drop)
    }

    /// The next fired watch, or `None` at the end of `limit`.
    pub(crate) fn event(&mut self, limit: Duration) -> Answer<Option<Event>> {
        self.0.run(self.0.event(limit))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Name(name) => Self::new(format!("xenstored refused: {name}")),
            Refused::Broken(text) => Self::new(text),
        }
    }
}
