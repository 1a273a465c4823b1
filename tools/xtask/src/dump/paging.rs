// SPDX-License-Identifier: BSD-2-Clause
//! x86-64 page tables of four levels, and the search for a top level that nobody told us of.

use super::memory::{Memory, PAGE, u64_at};

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Bits of an entry that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Bits of an address that each level above the page looks at, from the top.
const SHIFTS: [u32; 4] = [39, 30, 21, 12];

/// Memory as one set of page tables shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space<'a> {
    memory: &'a Memory,
    top: u64,
}

impl<'a> Space<'a> {
    /// Memory through the tables whose top level is at physical `top`.
    pub(super) fn new(memory: &'a Memory, top: u64) -> Self {
        Self { memory, top }
    }

    /// The physical address of the top level.
    pub(super) fn top(&self) -> u64 {
        self.top
    }

    /// The physical address behind a virtual one; it may be outside of the image.
    pub(super) fn translate(&self, address: u64) -> Option<u64> {
        if !is_canonical(address) {
            return None;
        }
        let mut table = self.top;
        for shift in SHIFTS {
            let index = (address >> shift) & 511;
            let mut entry = [0; 8];
            self.memory.read(table + index * 8, &mut entry)?;
            let entry = u64::from_le_bytes(entry);
            if entry & PRESENT == 0 {
                return None;
            }
            let large = entry & LARGE != 0 && (shift == 30 || shift == 21);
            if shift == 12 || large {
                let inside = (1 << shift) - 1;
                return Some((entry & ADDRESS & !inside) | (address & inside));
            }
            table = entry & ADDRESS;
        }
        None
    }

    /// Copies what is at a virtual address.
    pub(super) fn read(&self, address: u64, to: &mut [u8]) -> Option<()> {
        let (mut at, mut rest) = (address, to);
        while !rest.is_empty() {
            let room = PAGE - (at % PAGE as u64) as usize;
            let (part, more) = rest.split_at_mut(rest.len().min(room));
            self.memory.read(self.translate(at)?, part)?;
            at = at.checked_add(part.len() as u64)?;
            rest = more;
        }
        Some(())
    }

    /// The u64 at a virtual address.
    pub(super) fn u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The u32 at a virtual address.
    pub(super) fn u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(u32::from_le_bytes(bytes))
    }

    /// A string of printable ASCII.
    pub(super) fn text(&self, address: u64, len: u64) -> Option<String> {
        const LONGEST: u64 = 4096;
        if len > LONGEST {
            return None;
        }
        let mut bytes = vec![0; len as usize];
        self.read(address, &mut bytes)?;
        let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        printable.then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn is_canonical(address: u64) -> bool {
    matches!(address >> 47, 0 | 0x1_ffff)
}

/// Every page that could be the top level of tables which translate all of `addresses`.
pub(super) fn candidates<'a>(
    memory: &'a Memory,
    addresses: &'a [u64],
) -> impl Iterator<Item = Space<'a>> {
    memory.pages().filter_map(move |(at, page)| {
        let present = |address: &u64| {
            let index = (address >> 39) as usize & 511;
            u64_at(page, index * 8).is_some_and(|entry| entry & PRESENT != 0 && entry & LARGE == 0)
        };
        let space = Space::new(memory, at);
        (addresses.iter().all(present) && addresses.iter().all(|&a| space.translate(a).is_some()))
            .then_some(space)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_size_is_translated() {
        let mut data = vec![0; 5 * PAGE];
        let mut set = |table: usize, index: usize, entry: u64| {
            let at = table * PAGE + index * 8;
            data[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        };
        // Top level in page 1; entry 256 leads to page 2, there: 1 GiB, page 3; there: 2 MiB, page 4; there: 4 KiB.
        set(1, 256, 0x2003);
        set(2, 0, 0x4000_0000 | 0x83);
        set(2, 1, 0x3003);
        set(3, 0, 0x60_0000 | (1 << 63) | 0x83);
        set(3, 1, 0x4003);
        // Bit 7 of the lowest level is no size.
        set(4, 2, 0x7000 | 0x83);
        let memory = Memory::from_bytes(&data).expect("an image");
        let space = Space::new(&memory, 0x1000);
        let base = 0xffff_8000_0000_0000;
        assert_eq!(space.translate(base + 0x1234_5678), Some(0x5234_5678));
        assert_eq!(space.translate(base + 0x4001_2345), Some(0x61_2345));
        assert_eq!(space.translate(base + 0x4020_2345), Some(0x7345));
        assert_eq!(space.translate(base + 0x4020_3345), None);
        assert_eq!(space.translate(0x8000_0000_0000), None);
        assert_eq!(space.translate(0), None);
        let found: Vec<_> = candidates(&memory, &[base, base + 0x4020_2000])
            .map(|space| space.top())
            .collect();
        assert_eq!(found, [0x1000]);
    }
}
