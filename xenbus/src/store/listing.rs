// SPDX-License-Identifier: BSD-2-Clause
//! A directory longer than one payload, put together from parts.
//!
//! Each part says of which generation of the node it is; when that changes on the way, the list is
//! begun again, a bounded number of times. Owned by the request that asks; any IRQL that its lock
//! allows.

use kexec::Result;
use kexec::nt::Vec;

use super::bytes::Bytes;
use super::request::TAG;
use super::wire::{Decimal, GENERATION_MAX, parse_directory_part};
use crate::status;

/// Times that a list is begun again because the node changed.
pub const RESTARTS: u8 = 8;
/// Most bytes of names: many times what quotas allow a guest, and what the toolstack makes.
pub const NAMES_MAX: usize = 1 << 20;

/// What came so far.
pub struct Listing {
    /// The payload of the DIRECTORY: path and NUL.
    path: Bytes,
    generation: heapless::Vec<u8, GENERATION_MAX>,
    names: Vec<u8>,
    restarts: u8,
}

/// Whether a part was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Ask for the next.
    More,
    /// The list is whole.
    Last,
}

impl Listing {
    /// An empty list of the node that `path`, with its NUL, names.
    #[must_use]
    pub fn new(path: Bytes) -> Self {
        Self {
            path,
            generation: heapless::Vec::new(),
            names: Vec::new(TAG),
            restarts: 0,
        }
    }

    /// The payload that asks for the next part.
    ///
    /// # Errors
    /// `NO_MEMORY`, `INVALID_BUFFER_SIZE`.
    pub fn ask(&mut self) -> Result<Bytes> {
        let offset = u32::try_from(self.names.len()).map_err(|_| status::INVALID_BUFFER_SIZE)?;
        Bytes::join(&[&self.path, Decimal::default().format(offset), b"\0"])
    }

    /// Adds one part.
    ///
    /// # Errors
    /// `DEVICE_PROTOCOL_ERROR`; `NO_MEMORY`; `INVALID_BUFFER_SIZE` for an endless list; `RETRY` when
    /// the node never stands still.
    pub fn add(&mut self, payload: &[u8]) -> Result<Part> {
        let (generation, names, last) = parse_directory_part(payload)?;
        if !self.generation.is_empty() && self.generation != generation {
            if self.restarts == RESTARTS {
                return Err(status::RETRY);
            }
            self.restarts += 1;
            let asked_from_the_start = self.names.is_empty();
            self.names.clear();
            self.generation.clear();
            if !asked_from_the_start {
                return Ok(Part::More);
            }
        }
        self.generation.clear();
        self.generation
            .extend_from_slice(generation)
            .map_err(|_| status::DEVICE_PROTOCOL_ERROR)?;
        if self.names.len() + names.len() > NAMES_MAX {
            return Err(status::INVALID_BUFFER_SIZE);
        }
        self.names
            .try_extend_from_slice(names)
            .map_err(status::no_memory)?;
        Ok(if last { Part::Last } else { Part::More })
    }

    /// The whole list.
    #[must_use]
    pub fn into_names(self) -> Vec<u8> {
        self.names
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
