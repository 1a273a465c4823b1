// SPDX-License-Identifier: BSD-2-Clause
//! Physical memory through mappings: the seam under [`crate::acpi`].
//!
//! # IRQL
//! `<= DISPATCH_LEVEL`.

use core::sync::atomic::Ordering;

use kexec::nt::{Cache, IoMapping, PAGE_SIZE};
use kexec::{Result, Status};

use crate::acpi::PhysicalMemory;

/// Maps what is read, whole pages, for as long as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Mapped;

impl PhysicalMemory for Mapped {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result {
        let offset = (address % PAGE_SIZE as u64) as usize;
        let length = (offset + buffer.len()).next_multiple_of(PAGE_SIZE);
        let mapping = IoMapping::map(address - offset as u64, length, Cache::Cached)?;
        let bytes = mapping.shared().atomics_u8();
        let bytes = bytes
            .get(offset..offset + buffer.len())
            .ok_or(Status::INVALID_ADDRESS)?;
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = from.load(Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kexec::nt::sys::fake;

    #[test]
    fn a_read_across_a_page_border_has_the_bytes_of_both() {
        let kernel = fake::boot();
        let memory = kernel.add_physical(0x10_0000, 2);
        #[expect(unsafe_code, reason = "fills the fake machine's memory")]
        // SAFETY: two pages of the fake machine.
        let words = unsafe { core::slice::from_raw_parts_mut(memory, 1024) };
        words[511] = u64::from_le_bytes(*b"\0\0\0\0\0\0AB");
        words[512] = u64::from_le_bytes(*b"CD\0\0\0\0\0\0");
        let mut buffer = [0; 4];
        assert_eq!(Mapped.read(0x10_0FFE, &mut buffer), Ok(()));
        assert_eq!(buffer, *b"ABCD");
    }
}
