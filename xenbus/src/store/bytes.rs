// SPDX-License-Identifier: BSD-2-Clause
//! The bytes of a request or a reply: in place when short, in a pool block of their own otherwise.
//!
//! Owned by whoever holds them; `<= DISPATCH_LEVEL`.

use kexec::Result;
use kexec::nt::Vec;

use super::request::TAG;
use super::wire::PAYLOAD_MAX;
use crate::status;

/// Bytes that travel without an allocation of their own.
pub const INLINE: usize = 120;

/// Bytes of a request or a reply: inline when short.
pub enum Bytes {
    /// In the request block itself.
    Inline {
        /// How many are valid.
        len: u8,
        /// The bytes.
        bytes: [u8; INLINE],
    },
    /// In a block of their own.
    Heap(Vec<u8>),
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self::Inline {
        len: 0,
        bytes: [0; INLINE],
    };

    /// Joins `parts`.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE` over 4096 bytes, before anything is queued; `NO_MEMORY`.
    pub fn join(parts: &[&[u8]]) -> Result<Self> {
        let mut joined = Self::EMPTY;
        joined.fill(parts)?;
        Ok(joined)
    }

    /// Becomes `parts`, joined. Unchanged on an error.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn fill(&mut self, parts: &[&[u8]]) -> Result {
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        if whole > PAYLOAD_MAX {
            return Err(status::INVALID_BUFFER_SIZE);
        }
        if whole <= INLINE {
            if matches!(self, Self::Heap(_)) {
                *self = Self::EMPTY;
            }
            if let Self::Inline { len, bytes } = self {
                let mut at = 0;
                for part in parts {
                    bytes[at..at + part.len()].copy_from_slice(part);
                    at += part.len();
                }
                *len = u8::try_from(whole).map_err(|_| status::UNSUCCESSFUL)?;
            }
            return Ok(());
        }
        let mut heap = Vec::new(TAG);
        heap.try_reserve(whole).map_err(status::no_memory)?;
        for part in parts {
            heap.try_extend_from_slice(part)?;
        }
        *self = Self::Heap(heap);
        Ok(())
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(heap) => heap,
        }
    }
}

impl core::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
