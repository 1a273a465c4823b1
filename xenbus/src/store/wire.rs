// SPDX-License-Identifier: BSD-2-Clause
//! The xenstore wire protocol: headers, request payloads, replies.
//!
//! Pure functions over byte slices: no state, no ring, any IRQL. Everything that a daemon sends is
//! parsed here from a *private copy* of the message, every scan is bounded by the length of that
//! copy, and a malformed reply is an error value, never a panic.

use crate::status::{self, Status};

/// Size of a message header.
pub const HEADER_LEN: usize = 16;
/// Longest payload in either direction, inclusive.
pub const PAYLOAD_MAX: usize = 4096;
/// Longest absolute path, its NUL included.
const ABSOLUTE_MAX: usize = 3072;
/// Longest relative path, its NUL included.
const RELATIVE_MAX: usize = 2048;

/// A message type; any value can arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u32);

impl Kind {
    /// List the children of a node.
    pub const DIRECTORY: Self = Self(1);
    /// Read the value of a node.
    pub const READ: Self = Self(2);
    /// Read the permissions of a node.
    pub const GET_PERMS: Self = Self(3);
    /// Register a watch.
    pub const WATCH: Self = Self(4);
    /// Remove a watch.
    pub const UNWATCH: Self = Self(5);
    /// Open a transaction.
    pub const TRANSACTION_START: Self = Self(6);
    /// Commit or abort a transaction.
    pub const TRANSACTION_END: Self = Self(7);
    /// Write a value.
    pub const WRITE: Self = Self(11);
    /// Remove a node and all below it.
    pub const RM: Self = Self(13);
    /// Set the permissions of a node.
    pub const SET_PERMS: Self = Self(14);
    /// A watch fired; sent by the daemon only.
    pub const WATCH_EVENT: Self = Self(15);
    /// A request failed; sent by the daemon only.
    pub const ERROR: Self = Self(16);
    /// Drop all watches and transactions of this domain.
    pub const RESET_WATCHES: Self = Self(21);
    /// List some of the children of a node, from an offset.
    pub const DIRECTORY_PART: Self = Self(22);

    /// Whether a successful reply is just "OK".
    #[must_use]
    pub fn replies_ok(self) -> bool {
        matches!(
            self,
            Self::WATCH
                | Self::UNWATCH
                | Self::TRANSACTION_END
                | Self::WRITE
                | Self::RM
                | Self::SET_PERMS
                | Self::RESET_WATCHES
        )
    }
}

/// A message header in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// Echoed by the reply.
    pub req_id: u32,
    /// The transaction, 0 for none.
    pub tx_id: u32,
    /// Payload bytes that follow.
    pub len: u32,
}

impl Header {
    /// The header as it travels.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        for (field, chunk) in [self.kind.0, self.req_id, self.tx_id, self.len]
            .iter()
            .zip(out.chunks_exact_mut(4))
        {
            chunk.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Reads a header; the caller checks [`len`](Self::len) before it uses it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let word =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        Self {
            kind: Kind(word(0)),
            req_id: word(4),
            tx_id: word(8),
            len: word(12),
        }
    }
}

/// A path as callers name it: an optional prefix and a node, joined by a slash.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    prefix: Option<&'a [u8]>,
    node: &'a [u8],
}

impl<'a> Path<'a> {
    /// Joins `prefix` and `node` and checks the result.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE` when the joined path is over the limit, `INVALID_PARAMETER` when a part
    /// holds a NUL, which would split the request into more strings than meant.
    pub fn new(prefix: Option<&'a [u8]>, node: &'a [u8]) -> Result<Self, Status> {
        let path = Self { prefix, node };
        if prefix.unwrap_or_default().contains(&0) || node.contains(&0) {
            return Err(status::INVALID_PARAMETER);
        }
        let first = match prefix {
            Some(p) => p.first().copied().unwrap_or(b'/'),
            None => node.first().copied().unwrap_or(0),
        };
        let limit = if first == b'/' {
            ABSOLUTE_MAX
        } else {
            RELATIVE_MAX
        };
        if path.len() + 1 > limit {
            return Err(status::INVALID_BUFFER_SIZE);
        }
        Ok(path)
    }

    /// A path without a prefix.
    ///
    /// # Errors
    /// As [`Path::new`].
    pub fn plain(node: &'a [u8]) -> Result<Self, Status> {
        Self::new(None, node)
    }

    /// Length of the joined path, without a terminator.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty path is the daemon's to refuse"
    )]
    pub fn len(&self) -> usize {
        self.prefix.map_or(0, |p| p.len() + 1) + self.node.len()
    }

    /// The joined path in pieces, without a terminator.
    #[must_use]
    pub fn parts(&self) -> [&'a [u8]; 3] {
        match self.prefix {
            Some(p) => [p, b"/", self.node],
            None => [&[], &[], self.node],
        }
    }
}

/// The NTSTATUS of an error name, without its NUL.
///
/// Client drivers branch on a few of these: a missing node, a conflict at commit.
#[must_use]
pub fn error_status(name: &[u8]) -> Status {
    match name {
        b"EQUOTA" => status::QUOTA_EXCEEDED,
        b"EINVAL" => status::INVALID_PARAMETER,
        b"EACCES" | b"EPERM" => status::ACCESS_DENIED,
        b"EEXIST" => status::OBJECTID_EXISTS,
        b"EISDIR" => status::FILE_IS_A_DIRECTORY,
        b"ENOENT" => status::OBJECT_NAME_NOT_FOUND,
        b"ENOMEM" => status::NO_MEMORY,
        b"ENOSPC" => status::INSUFFICIENT_RESOURCES,
        b"EIO" => status::UNEXPECTED_IO_ERROR,
        b"ENOTEMPTY" => status::DIRECTORY_NOT_EMPTY,
        b"ENOSYS" => status::NOT_IMPLEMENTED,
        b"EROFS" => status::MEDIA_WRITE_PROTECTED,
        b"EBUSY" => status::PIPE_BUSY,
        b"EAGAIN" => status::RETRY,
        b"EISCONN" => status::PIPE_CONNECTED,
        b"E2BIG" => status::INVALID_BUFFER_SIZE,
        _ => status::UNSUCCESSFUL,
    }
}

/// The status that an ERROR reply stands for; an empty one is a protocol error.
#[must_use]
pub fn parse_error(payload: &[u8]) -> Status {
    let name = until_nul(payload);
    if name.is_empty() {
        status::DEVICE_PROTOCOL_ERROR
    } else {
        error_status(name)
    }
}

/// The transaction id of a TRANSACTION_START reply: decimal, NUL, never 0.
///
/// # Errors
/// `DEVICE_PROTOCOL_ERROR` for anything else.
pub fn parse_tx_id(payload: &[u8]) -> Result<u32, Status> {
    let (0, digits) = payload.split_last().ok_or(status::DEVICE_PROTOCOL_ERROR)? else {
        return Err(status::DEVICE_PROTOCOL_ERROR);
    };
    match parse_u32(digits) {
        None | Some(0) => Err(status::DEVICE_PROTOCOL_ERROR),
        Some(id) => Ok(id),
    }
}

/// A decimal u32: digits only, at least one, no overflow.
#[must_use]
pub fn parse_u32(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, &d| {
        let digit = d.is_ascii_digit().then(|| u32::from(d - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The path and token of a WATCH_EVENT: exactly two NUL-terminated strings.
#[must_use]
pub fn parse_watch_event(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = until_nul(payload);
    let rest = payload.get(path.len() + 1..)?;
    let token = until_nul(rest);
    (rest.len() == token.len() + 1 && !path.is_empty()).then_some((path, token))
}

/// The bytes before the first NUL, or all of them.
#[must_use]
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The non-empty names of a DIRECTORY reply, in order.
pub fn names(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.split(|&b| b == 0).filter(|name| !name.is_empty())
}

/// One part of a long directory: its generation, the names in it, and whether it is the last.
///
/// Every string is terminated; an empty one after the names says that no more follow. A part without
/// names that is not the last would be asked for again for ever, and is an error.
///
/// # Errors
/// `DEVICE_PROTOCOL_ERROR` for anything else.
pub fn parse_directory_part(payload: &[u8]) -> Result<(&[u8], &[u8], bool), Status> {
    let generation = until_nul(payload);
    let digits = !generation.is_empty() && generation.iter().all(u8::is_ascii_digit);
    let rest = payload
        .get(generation.len() + 1..)
        .filter(|_| digits && generation.len() <= GENERATION_MAX)
        .ok_or(status::DEVICE_PROTOCOL_ERROR)?;
    let (names, last) = match rest {
        [0] => (&rest[..0], true),
        [names @ .., 0, 0] => (&rest[..=names.len()], true),
        [_, .., 0] => (rest, false),
        _ => return Err(status::DEVICE_PROTOCOL_ERROR),
    };
    // An empty name in the middle would end the list early for some readers and not for others.
    if names.starts_with(b"\0") || names.windows(2).any(|pair| pair == b"\0\0") {
        return Err(status::DEVICE_PROTOCOL_ERROR);
    }
    Ok((generation, names, last))
}

/// Longest generation: a decimal u64.
pub const GENERATION_MAX: usize = 20;

/// The entries of a GET_PERMS reply: a letter and a decimal domain each, terminated.
///
/// # Errors
/// `DEVICE_PROTOCOL_ERROR` for anything else; each entry says so by itself.
pub fn permissions(payload: &[u8]) -> impl Iterator<Item = Result<Permission, Status>> {
    let whole = payload.strip_suffix(b"\0");
    let entries = whole.unwrap_or(payload).split(|&b| b == 0);
    entries.map(move |entry| {
        let parsed = entry.split_first().and_then(|(letter, digits)| {
            let mask = b"nrwb".iter().position(|l| l == letter)?;
            let domain = u16::try_from(parse_u32(digits)?).ok()?;
            Some(Permission {
                domain,
                mask: u32::try_from(mask).ok()?,
            })
        });
        parsed
            .filter(|_| whole.is_some())
            .ok_or(status::DEVICE_PROTOCOL_ERROR)
    })
}

/// Length of a watch token.
pub const TOKEN_LEN: usize = 16;

/// A watch token: fixed-width hex of slot and generation, opaque to everyone else.
#[must_use]
pub fn token(slot: u32, generation: u32) -> [u8; TOKEN_LEN] {
    let value = (u64::from(slot) << 32) | u64::from(generation);
    let mut out = [0; TOKEN_LEN];
    for (i, byte) in out.iter_mut().enumerate() {
        let nibble = (value >> (60 - 4 * i)) & 0xf;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    out
}

/// The slot and generation of a token that could be ours.
#[must_use]
pub fn parse_token(bytes: &[u8]) -> Option<(u32, u32)> {
    if bytes.len() != TOKEN_LEN {
        return None;
    }
    let value = bytes.iter().try_fold(0u64, |sum, &b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        Some((sum << 4) | u64::from(digit))
    })?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves are taken apart"
    )]
    Some(((value >> 32) as u32, value as u32))
}

/// The token at the end of a WATCH payload of ours.
#[must_use]
pub fn watch_token(payload: &[u8]) -> Option<(u32, u32)> {
    let (0, rest) = payload.split_last()? else {
        return None;
    };
    parse_token(rest.get(rest.len().checked_sub(TOKEN_LEN)?..)?)
}

/// One entry of SET_PERMS: a letter, a decimal domain, a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain meant; of the first entry, the owner.
    pub domain: u16,
    /// Bit 0 read, bit 1 write; nothing above.
    pub mask: u32,
}

impl Permission {
    /// The text of this entry.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a mask above 3.
    pub fn text(self) -> Result<heapless::Vec<u8, PERMISSION_MAX>, Status> {
        let letter = *b"nrwb"
            .get(self.mask as usize)
            .ok_or(status::INVALID_PARAMETER)?;
        let mut decimal = Decimal::default();
        let digits = decimal.format(u32::from(self.domain));
        let mut out = heapless::Vec::new();
        for piece in [&[letter][..], digits, b"\0"] {
            out.extend_from_slice(piece)
                .map_err(|_| status::INVALID_BUFFER_SIZE)?;
        }
        Ok(out)
    }
}

/// Longest text of one entry: a letter, five digits, a NUL.
pub const PERMISSION_MAX: usize = 7;

/// Room for the decimal text of a u32.
#[derive(Default)]
pub struct Decimal([u8; 10]);

impl Decimal {
    /// The digits of `value`.
    pub fn format(&mut self, mut value: u32) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
            if value == 0 {
                return &self.0[at..];
            }
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
