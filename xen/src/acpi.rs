// SPDX-License-Identifier: BSD-2-Clause
//! Finding an ACPI table in physical memory.
//!
//! Used only for the MADT, and only on hosts whose CPUID does not tell the vCPU id. Firmware puts the
//! RSDP below 1 MiB. Everything is copied before it is looked at; lengths are bounded and checksums
//! cover the whole table.
//!
//! # IRQL
//! That of the memory seam: mappings are made at `<= DISPATCH_LEVEL`.

use kexec::Result;

/// Physical memory, by copy.
pub trait PhysicalMemory {
    /// Fills `buffer` from `address`.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result;
}

/// Where the RSDP may be.
const RSDP_AREA: core::ops::Range<u64> = 0xE_0000..0x10_0000;
/// Its size from ACPI 2.0 on.
const RSDP: usize = 36;
/// Bytes read at a time while searching.
const STEP: usize = 512;
/// Header of every table.
const HEADER: usize = 36;
/// Entries of an XSDT looked at.
const ENTRIES: u64 = 64;

/// Copies the table with this signature into `buffer` and returns its length.
///
/// `None`: there is none, or it is broken, or it does not fit.
pub fn find_table(
    memory: &impl PhysicalMemory,
    signature: [u8; 4],
    buffer: &mut [u8],
) -> Option<usize> {
    let xsdt = root(memory)?;
    let length = u64::from(length(memory, xsdt, *b"XSDT")?);
    let entries = (length.checked_sub(HEADER as u64)? / 8).min(ENTRIES);
    (0..entries).find_map(|index| {
        let mut entry = [0; 8];
        let at = xsdt.checked_add(HEADER as u64 + 8 * index)?;
        memory.read(at, &mut entry).ok()?;
        let address = u64::from_le_bytes(entry);
        let length = length_of(memory, address, signature)?;
        let table = buffer.get_mut(..length)?;
        memory.read(address, table).ok()?;
        (sum(table) == 0).then_some(length)
    })
}

/// The XSDT's address, from the RSDP.
fn root(memory: &impl PhysicalMemory) -> Option<u64> {
    let mut chunk = [0; STEP + RSDP];
    RSDP_AREA.step_by(STEP).find_map(|address| {
        // The last chunk must not look past the area.
        let room = usize::try_from(RSDP_AREA.end - address).ok()?;
        let chunk = &mut chunk[..(STEP + RSDP).min(room)];
        memory.read(address, chunk).ok()?;
        chunk.windows(RSDP).step_by(16).find_map(|rsdp| {
            let found = rsdp.starts_with(b"RSD PTR ") && sum(rsdp) == 0;
            let address = u64::from_le_bytes(rsdp.get(24..32)?.try_into().ok()?);
            found.then_some(address)
        })
    })
}

/// The length in the header at `address`, if the signature is right.
fn length(memory: &impl PhysicalMemory, address: u64, signature: [u8; 4]) -> Option<u32> {
    let mut header = [0; 8];
    memory.read(address, &mut header).ok()?;
    let length = u32::from_le_bytes(header[4..].try_into().ok()?);
    (header[..4] == signature && length as usize >= HEADER).then_some(length)
}

/// As [`length`], as a size.
fn length_of(memory: &impl PhysicalMemory, address: u64, signature: [u8; 4]) -> Option<usize> {
    length(memory, address, signature).map(|length| length as usize)
}

/// The byte sum that is zero over every intact table.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use kexec::Status;
    use std::vec;
    use std::vec::Vec;

    /// Memory of a list of regions; the rest cannot be mapped.
    struct Regions(Vec<(u64, Vec<u8>)>);

    impl PhysicalMemory for Regions {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result {
            let region = self.0.iter().find_map(|(base, bytes)| {
                let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
                bytes.get(offset..)?.get(..buffer.len())
            });
            buffer.copy_from_slice(region.ok_or(Status::INVALID_ADDRESS)?);
            Ok(())
        }
    }

    fn seal(mut table: Vec<u8>, at: usize) -> Vec<u8> {
        table[at] = 0;
        table[at] = 0_u8.wrapping_sub(sum(&table));
        table
    }

    fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut table = vec![0; HEADER];
        table[..4].copy_from_slice(signature);
        table[4..8].copy_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
        table.extend(body);
        seal(table, 9)
    }

    /// The area with an RSDP at `offset`, an XSDT at 1 MiB, and the tables behind it.
    fn machine(offset: usize, tables: &[Vec<u8>]) -> Regions {
        let mut rsdp = vec![0; RSDP];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        rsdp[24..32].copy_from_slice(&0x10_0000_u64.to_le_bytes());
        let rsdp = seal(rsdp, 8);
        let mut area = vec![0; 0x2_0000];
        area[offset..offset + RSDP].copy_from_slice(&rsdp);
        let mut regions = vec![(0xE_0000, area)];
        let mut entries = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let address = 0x20_0000 + 0x1_0000 * index as u64;
            entries.extend(address.to_le_bytes());
            regions.push((address, table.clone()));
        }
        regions.push((0x10_0000, table(b"XSDT", &entries)));
        Regions(regions)
    }

    #[test]
    fn a_table_is_found_wherever_the_rsdp_is() {
        let madt = table(b"APIC", &[1, 2, 3, 4]);
        for offset in [0, 496, 512, 0x1_0000, 0x2_0000 - 48] {
            let memory = machine(offset, &[table(b"FACP", &[0; 9]), madt.clone()]);
            let mut buffer = [0; 256];
            let length = find_table(&memory, *b"APIC", &mut buffer);
            assert_eq!(length, Some(40), "{offset:#x}");
            assert_eq!(buffer[..40], madt);
        }
    }

    #[test]
    fn a_table_larger_than_the_buffer_or_with_a_bad_sum_is_refused() {
        let mut buffer = [0; 64];
        let large = machine(0, &[table(b"APIC", &[0; 100])]);
        assert_eq!(find_table(&large, *b"APIC", &mut buffer), None);
        let mut broken = table(b"APIC", &[0; 8]);
        broken[40] ^= 1;
        assert_eq!(
            find_table(&machine(0, &[broken]), *b"APIC", &mut buffer),
            None
        );
    }

    #[test]
    fn an_unmapped_entry_or_a_short_header_does_not_end_the_search() {
        let mut short = table(b"APIC", &[]);
        short[4] = 8;
        let mut memory = machine(0, &[short, vec![], table(b"APIC", &[7])]);
        memory.0.retain(|(_, bytes)| !bytes.is_empty());
        let mut buffer = [0; 64];
        assert_eq!(find_table(&memory, *b"APIC", &mut buffer), Some(37));
    }

    #[test]
    fn without_an_rsdp_there_are_no_tables() {
        let memory = Regions(vec![(0xE_0000, vec![0; 0x2_0000])]);
        assert_eq!(find_table(&memory, *b"APIC", &mut [0; 64]), None);
        assert_eq!(find_table(&Regions(vec![]), *b"APIC", &mut [0; 64]), None);
    }
}
