// SPDX-License-Identifier: BSD-2-Clause
//! Pages of other domains, mapped into holes of the guest's memory.
//!
//! A mapping is found again by its address. It is taken out of the list before anything is undone, so of two unmappings of one
//! address the second finds nothing. Where Xen refuses to unmap, the hole is leaked: its frames still show foreign pages. A
//! suspend ends mappings in Xen but not here: unmapping one of an earlier epoch only fills the hole.
//!
//! # IRQL
//! <= DISPATCH_LEVEL; many pages take long, so better below.

use kexec::nt::{SpinLock, Vec};
use kexec::{error, warn};

use super::host::{ForeignHole, GrantHost, PAGE};
use super::table::{Gnttab, TAG};
use crate::status::{INVALID_PARAMETER, OBJECT_NAME_NOT_FOUND, Result, UNSUCCESSFUL, no_memory};

/// One mapping.
struct Mapping<O> {
    address: u64,
    epoch: u32,
    handles: Vec<u32>,
    hole: O,
}

/// The mappings of a table, by address.
pub(super) struct Foreign<H: GrantHost>(SpinLock<Vec<Mapping<H::Hole>>>);

impl<H: GrantHost> Foreign<H> {
    pub(super) const fn new() -> Self {
        Self(SpinLock::new(Vec::new(TAG)))
    }

    /// Undoes what is left.
    pub(super) fn end(&mut self, host: &H, epoch: u32) {
        let list = self.0.get_mut();
        if !list.is_empty() {
            warn!("gnttab: {} mappings of foreign pages left", list.len());
        }
        while let Some(mapping) = list.pop() {
            // Reported there.
            let _ = undo(host, mapping, epoch);
        }
    }
}

/// Takes a mapping apart.
fn undo<H: GrantHost>(host: &H, mapping: Mapping<H::Hole>, epoch: u32) -> Result {
    let Mapping {
        address,
        epoch: made,
        handles,
        hole,
    } = mapping;
    let mut refused = 0;
    if made == epoch {
        for (page, handle) in (0..).zip(handles.iter()) {
            refused += u32::from(host.unmap(*handle, address + page * PAGE).is_err());
        }
    }
    if refused == 0 {
        return Ok(());
    }
    error!("gnttab: {refused} foreign pages at {address:#x} stay mapped, their frames are lost");
    core::mem::forget(hole);
    Err(UNSUCCESSFUL)
}

impl<H: GrantHost> Gnttab<H> {
    /// Maps pages that `domain` granted one behind the other, all or none; the guest physical address of the first.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: no page. `NO_MEMORY`. Else that of the first page that could not be mapped.
    pub fn map_foreign(&self, domain: u16, references: &[u32], read_only: bool) -> Result<u64> {
        let pages = u32::try_from(references.len()).map_err(|_| INVALID_PARAMETER)?;
        if pages == 0 {
            return Err(INVALID_PARAMETER);
        }
        let handles = Vec::try_with_capacity(TAG, references.len()).map_err(no_memory)?;
        let hole = self.host().hole(pages).map_err(no_memory)?;
        let (address, epoch) = (hole.address(), self.epoch());
        let mut mapping = Mapping {
            address,
            epoch,
            handles,
            hole,
        };
        for (page, reference) in (0..).zip(references) {
            let mapped = self
                .host()
                .map(domain, *reference, address + page * PAGE, read_only)
                .and_then(|handle| mapping.handles.try_push(handle));
            if let Err(status) = mapped {
                let _ = undo(self.host(), mapping, self.epoch());
                return Err(status);
            }
        }
        let mut list = self.foreign.0.lock();
        if list.try_reserve(1).is_err() {
            drop(list);
            let _ = undo(self.host(), mapping, self.epoch());
            return Err(crate::status::NO_MEMORY);
        }
        let at = list.partition_point(|other| other.address < address);
        // There is room.
        list.try_insert(at, mapping)?;
        Ok(address)
    }

    /// Undoes [`Self::map_foreign`]: all pages of it.
    ///
    /// # Errors
    /// `OBJECT_NAME_NOT_FOUND`: nothing was mapped at this address. `UNSUCCESSFUL`: Xen refused; the pages stay where they
    /// are, and the address is not used again.
    pub fn unmap_foreign(&self, address: u64) -> Result {
        let mut list = self.foreign.0.lock();
        let at = list
            .binary_search_by_key(&address, |mapping| mapping.address)
            .map_err(|_| OBJECT_NAME_NOT_FOUND)?;
        let mapping = list.remove(at);
        drop(list);
        undo(self.host(), mapping, self.epoch())
    }

    /// Mappings that exist.
    pub fn mappings(&self) -> usize {
        self.foreign.0.lock().len()
    }
}
