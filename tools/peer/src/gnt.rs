// SPDX-License-Identifier: BSD-2-Clause
//! A page that a guest granted to dom0, through `/dev/xen/gntdev`, and one that dom0 grants, through `/dev/xen/gntalloc`.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ffi::{Call, Mapping, PAGE, request};
use crate::{Failure, Result};

/// A mapped page. Unmapped by [`Page::close`] or with the process.
pub(crate) struct Page {
    // Dropped before the file: the kernel refuses to forget pages that are still mapped.
    mapping: Mapping,
    file: File,
    index: u64,
}

impl Page {
    /// Maps grant `reference` of domain `domid`.
    pub(crate) fn map(domid: u32, reference: u32, write: bool) -> Result<Self> {
        let path = "/dev/xen/gntdev";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| Failure::new(format!("open {path}: {e}")))?;
        // count, padding, index (out, two words), domain, reference
        let (_, answer) = request(file.as_fd(), Call::GrantMap, [1, 0, 0, 0, domid, reference])
            .map_err(|e| Failure::new(format!("grant {reference} of domain {domid}: {e}")))?;
        let index = u64::from(answer[2]) | u64::from(answer[3]) << 32;
        let mapping = Mapping::new(file.as_fd(), index, PAGE, write)
            .map_err(|e| Failure::new(format!("map grant {reference} of domain {domid}: {e}")))?;
        Ok(Self {
            mapping,
            file,
            index,
        })
    }

    /// Writes `data` at `offset`.
    pub(crate) fn patch(&self, offset: usize, data: &[u8]) -> Result {
        let target = offset
            .checked_add(data.len())
            .and_then(|end| self.mapping.bytes().get(offset..end))
            .ok_or_else(|| Failure::new("the patch does not fit into the page"))?;
        for (to, from) in target.iter().zip(data) {
            to.store(*from, Ordering::Release);
        }
        Ok(())
    }

    /// The page's bytes now.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.mapping.read()
    }

    /// The page as 32-bit words, which the guest uses at the same time.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        self.mapping.words()
    }

    /// Gives the page back.
    pub(crate) fn close(self) -> Result {
        let Self {
            mapping,
            file,
            index,
        } = self;
        drop(mapping);
        // index (two words), count, padding
        let low = u32::try_from(index & 0xffff_ffff).unwrap_or(0);
        let high = u32::try_from(index >> 32).unwrap_or(0);
        request(file.as_fd(), Call::GrantUnmap, [low, high, 1, 0])
            .map(|_| ())
            .map_err(|e| Failure::new(format!("unmap: {e}")))
    }
}

/// A page of this process that a guest may map. Xen keeps it until the guest has unmapped it.
pub(crate) struct Shared {
    // Dropped before the file, as above.
    mapping: Mapping,
    file: File,
    index: [u32; 2],
    reference: u32,
}

impl Shared {
    /// Grants a page that begins with `data` to domain `domid`, which may write.
    pub(crate) fn grant(domid: u32, data: &[u8]) -> Result<Self> {
        let path = "/dev/xen/gntalloc";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| Failure::new(format!("open {path}: {e}")))?;
        // domain and flags (1: writable) in 16 bits each, count, index (out, two words), reference (out), padding
        let argument = [domid & 0xffff | 1 << 16, 1, 0, 0, 0, 0];
        let (_, answer) = request(file.as_fd(), Call::GrantAlloc, argument)
            .map_err(|e| Failure::new(format!("grant to domain {domid}: {e}")))?;
        let index = [answer[2], answer[3]];
        let offset = u64::from(index[0]) | u64::from(index[1]) << 32;
        let mapping = Mapping::new(file.as_fd(), offset, PAGE, true)
            .map_err(|e| Failure::new(format!("map the granted page: {e}")))?;
        for (to, from) in mapping.bytes().iter().zip(data) {
            to.store(*from, Ordering::Release);
        }
        Ok(Self {
            mapping,
            file,
            index,
            reference: answer[4],
        })
    }

    /// The number of the grant.
    pub(crate) fn reference(&self) -> u32 {
        self.reference
    }

    /// The page's bytes now.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.mapping.read()
    }

    /// Ends the grant.
    pub(crate) fn close(self) -> Result {
        let Self {
            mapping,
            file,
            index: [low, high],
            ..
        } = self;
        drop(mapping);
        request(file.as_fd(), Call::GrantDealloc, [low, high, 1, 0])
            .map(|_| ())
            .map_err(|e| Failure::new(format!("end the grant: {e}")))
    }
}
