// SPDX-License-Identifier: BSD-2-Clause
//! What the store answers with.
//!
//! A reply is copied when it arrives: a short one into the value itself, a long one into a pool block.

use core::fmt;
use core::ops::Deref;

use kexec::nt::{Tag, Vec};
use kexec::{Result, Status};

use crate::ffi::request::Reply;
use crate::store::Permission;

/// Tag of replies: they are made in a completion, which knows no driver.
const TAG: Tag = Tag(*b"XIFR");

/// Bytes that need no block of their own.
const INLINE: usize = 47;

/// A node's value: bytes, as they are.
pub struct Value(Bytes);

enum Bytes {
    Short { len: u8, bytes: [u8; INLINE] },
    Long(Vec<u8>),
}

impl Value {
    /// The value as text.
    ///
    /// # Errors
    /// `STATUS_DATA_ERROR` when it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        core::str::from_utf8(self).map_err(|_| Status::DATA_ERROR)
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
        match &self.0 {
            Bytes::Short { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Ok(text) => fmt::Debug::fmt(text, f),
            Err(_) => fmt::Debug::fmt(&**self, f),
        }
    }
}

impl Reply for Value {
    fn from_reply(data: &[u8]) -> Result<Self> {
        let mut short = [0; INLINE];
        if let (Some(place), Ok(len)) = (short.get_mut(..data.len()), u8::try_from(data.len())) {
            place.copy_from_slice(data);
            return Ok(Self(Bytes::Short { len, bytes: short }));
        }
        let mut bytes = Vec::new(TAG);
        bytes.try_extend_from_slice(data)?;
        Ok(Self(Bytes::Long(bytes)))
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

/// The permissions of a node, the owner's first; its mask is that of every domain not listed.
pub struct Permissions(Value);

impl Permissions {
    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = Permission> {
        self.0
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.split_first())
            .filter_map(|(letter, domain)| {
                let mask = [b'n', b'r', b'w', b'b'].iter().position(|l| l == letter)?;
                let domain = core::str::from_utf8(domain).ok()?.parse().ok()?;
                let mask = u32::try_from(mask).ok()?;
                Some(Permission { domain, mask })
            })
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Reply for Permissions {
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
