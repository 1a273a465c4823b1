// SPDX-License-Identifier: BSD-2-Clause
//! What the store answers with.
//!
//! A reply is copied into one pool block when it arrives; an empty one needs none.

use core::fmt;
use core::ops::Deref;

use kexec::nt::{Tag, Vec};
use kexec::{Result, Status};

use crate::ffi::request::Reply;

/// Tag of replies: they are made in a completion, which knows no driver.
const TAG: Tag = Tag(*b"XIFR");

/// A node's value: bytes, as they are.
#[derive(PartialEq)]
pub struct Value(Vec<u8>);

impl Value {
    /// The value as text.
    ///
    /// # Errors
    /// `STATUS_DATA_ERROR` when it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        core::str::from_utf8(&self.0).map_err(|_| Status::DATA_ERROR)
    }

    /// The value as a decimal number.
    ///
    /// # Errors
    /// `STATUS_DATA_ERROR` when it is not one or does not fit.
    pub fn number(&self) -> Result<u64> {
        self.text()?.parse().map_err(|_| Status::DATA_ERROR)
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Ok(text) => fmt::Debug::fmt(text, f),
            Err(_) => fmt::Debug::fmt(&self.0, f),
        }
    }
}

impl Reply for Value {
    fn from_reply(data: &[u8]) -> Result<Self> {
        let mut bytes = Vec::new(TAG);
        bytes.try_extend_from_slice(data)?;
        Ok(Self(bytes))
    }
}

/// The names of a node's children, in the store's order.
pub struct Names(Value);

impl Names {
    /// The names; one that is not UTF-8 is left out.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .filter_map(|name| core::str::from_utf8(name).ok())
    }

    /// Has the node no children?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Reply for Names {
    fn from_reply(data: &[u8]) -> Result<Self> {
        Value::from_reply(data).map(Self)
    }
}

/// An operation without an answer.
impl Reply for () {
    fn from_reply(_: &[u8]) -> Result {
        Ok(())
    }
}

/// A transaction's identity.
impl Reply for u64 {
    fn from_reply(data: &[u8]) -> Result<Self> {
        let bytes = data.try_into().map_err(|_| Status::DEVICE_PROTOCOL_ERROR)?;
        match Self::from_le_bytes(bytes) {
            0 => Err(Status::DEVICE_PROTOCOL_ERROR),
            identity => Ok(identity),
        }
    }
}
