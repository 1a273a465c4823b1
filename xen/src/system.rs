// SPDX-License-Identifier: BSD-2-Clause
//! The processors: Windows index to vCPU id.
//!
//! Filled once at load, each entry on its own processor; read at any IRQL without waiting. A processor
//! that was not there, or that Xen does not know, has no entry and its users skip it.
//!
//! # IRQL
//! Any.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::{Result, Status};

/// Processors that can have an entry: more than the vCPUs that Xen gives a guest (128).
const MAX: usize = 256;
/// No entry.
const ABSENT: u32 = u32::MAX;

/// vCPU ids by Windows processor index.
#[derive(Debug)]
pub struct VcpuIds {
    ids: [AtomicU32; MAX],
}

impl VcpuIds {
    /// No processor.
    pub const fn new() -> Self {
        Self {
            ids: [const { AtomicU32::new(ABSENT) }; MAX],
        }
    }

    /// Enters a processor; `STATUS_INVALID_PARAMETER` for an index or id that has no place.
    pub fn set(&self, cpu: u32, vcpu_id: u32) -> Result {
        let entry = self.ids.get(cpu as usize).filter(|_| vcpu_id != ABSENT);
        entry
            .ok_or(Status::INVALID_PARAMETER)?
            .store(vcpu_id, Ordering::Release);
        Ok(())
    }

    /// The vCPU id of a processor.
    ///
    /// `STATUS_UNSUCCESSFUL`: no such index; `STATUS_NOT_SUPPORTED`: not (yet) present.
    pub fn get(&self, cpu: u32) -> Result<u32> {
        let entry = self.ids.get(cpu as usize).ok_or(Status::UNSUCCESSFUL)?;
        match entry.load(Ordering::Acquire) {
            ABSENT => Err(Status::NOT_SUPPORTED),
            id => Ok(id),
        }
    }

    /// Processors entered.
    pub fn count(&self) -> usize {
        let entered = |id: &&AtomicU32| id.load(Ordering::Relaxed) != ABSENT;
        self.ids.iter().filter(entered).count()
    }

    /// Forgets all processors.
    pub fn clear(&self) {
        for id in &self.ids {
            id.store(ABSENT, Ordering::Release);
        }
    }
}

impl Default for VcpuIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_the_id_that_was_entered_until_all_are_cleared() {
        let ids = VcpuIds::new();
        assert_eq!(ids.set(1, 5), Ok(()));
        assert_eq!((ids.get(1), ids.count()), (Ok(5), 1));
        ids.clear();
        assert_eq!((ids.get(1), ids.count()), (Err(Status::NOT_SUPPORTED), 0));
    }

    #[test]
    fn an_absent_processor_and_one_out_of_range_differ() {
        let ids = VcpuIds::new();
        assert_eq!(ids.get(0), Err(Status::NOT_SUPPORTED));
        assert_eq!(ids.get(MAX as u32), Err(Status::UNSUCCESSFUL));
        assert_eq!(ids.get(u32::MAX), Err(Status::UNSUCCESSFUL));
    }

    #[test]
    fn an_entry_out_of_range_is_refused() {
        let ids = VcpuIds::new();
        assert_eq!(ids.set(MAX as u32, 0), Err(Status::INVALID_PARAMETER));
        assert_eq!(ids.set(0, u32::MAX), Err(Status::INVALID_PARAMETER));
        assert_eq!(ids.count(), 0);
    }
}
