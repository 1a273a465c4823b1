// SPDX-License-Identifier: BSD-2-Clause
//! The other end: where its keys are, what it offers, and what it is told.

use kexec::nt::{String, Tag, Vec};
use kexec::{Result, Status, try_format};

use crate::client::{Store, Value, Watch};

/// The first of the numbers that are no domains, such as "myself".
const FIRST_RESERVED: u64 = 0x7FF0;

/// The backend that a frontend was given.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct Backend<'a> {
    store: &'a Store,
    path: String,
    domain: u16,
}

impl<'a> Backend<'a> {
    /// Looks the backend of the device at `path` up; `None` when the toolstack gave none.
    pub(super) async fn look_up(store: &'a Store, path: &str) -> Result<Option<Self>> {
        let Some(backend) = key(store, path, "backend").await? else {
            return Ok(None);
        };
        let text = backend.text()?;
        if text.is_empty() {
            return Err(Status::DATA_ERROR);
        }
        let Some(domain) = key(store, path, "backend-id").await? else {
            return Ok(None);
        };
        let domain = domain.number()?;
        if domain >= FIRST_RESERVED {
            return Err(Status::DATA_ERROR);
        }
        Ok(Some(Self {
            store,
            path: String::try_from_str(store.tag(), text)?,
            domain: domain as u16,
        }))
    }

    /// Its directory in the store.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Its domain, for grants and event channels.
    #[must_use]
    pub fn domain(&self) -> u16 {
        self.domain
    }

    /// Reads one of its keys; `None` when there is no such key.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, name: &str) -> Result<Option<Value>> {
        key(self.store, self.path(), name).await
    }

    /// Reads a number that it offers; `None` when it offers none.
    ///
    /// # Errors
    /// `STATUS_DATA_ERROR` for what is not a decimal number; the store's.
    pub async fn number(&self, name: &str) -> Result<Option<u64>> {
        let value = self.read(name).await?;
        value.map(|value| value.number()).transpose()
    }

    /// Whether it has a feature: a key that is there and is a number other than 0.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub async fn has(&self, name: &str) -> Result<bool> {
        Ok(self.number(name).await?.is_some_and(|number| number != 0))
    }

    /// Watches one of its keys, for what it changes while it is connected.
    ///
    /// # Errors
    /// As [`Store::watch`].
    pub fn watch(&self, name: &str) -> Result<Watch<'a>> {
        let path = try_format!(self.store.tag(), "{}/{name}", self.path())?;
        self.store.watch(path.as_str())
    }

    /// The toolstack wants it to end.
    pub(super) async fn is_offline(&self) -> Result<bool> {
        let online = self.read("online").await?;
        Ok(online.is_some_and(|online| &*online == b"0"))
    }

    /// The same backend: its keys are in the same place, and it is the same domain.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.path() == other.path() && self.domain == other.domain
    }
}

/// Reads a key; `None` when there is none.
async fn key(store: &Store, directory: &str, name: &str) -> Result<Option<Value>> {
    let path = try_format!(store.tag(), "{directory}/{name}")?;
    match store.read(path.as_str()).await {
        Ok(value) => Ok(Some(value)),
        Err(Status::OBJECT_NAME_NOT_FOUND) => Ok(None),
        Err(status) => Err(status),
    }
}

/// What the backend will be told, all at once, when the frontend becomes [`Initialised`](super::State::Initialised).
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct Keys {
    /// Path and value.
    entries: Vec<(String, String)>,
    tag: Tag,
    directory: String,
}

impl Keys {
    pub(super) fn try_new(tag: Tag, directory: &str) -> Result<Self> {
        Ok(Self {
            entries: Vec::new(tag),
            tag,
            directory: String::try_from_str(tag, directory)?,
        })
    }

    /// Adds a key of the frontend, such as `ring-ref` with the number of a grant.
    ///
    /// # Errors
    /// Out of memory.
    pub fn put(&mut self, name: &str, value: impl core::fmt::Display) -> Result {
        let path = try_format!(self.tag, "{}/{name}", self.directory.as_str())?;
        let value = try_format!(self.tag, "{value}")?;
        self.entries.try_push((path, value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter();
        entries.map(|(path, value)| (path.as_str(), value.as_str()))
    }
}
