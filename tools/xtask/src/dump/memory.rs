// SPDX-License-Identifier: BSD-2-Clause
//! A guest's physical memory as a file has it. Pages of zeros take no room, so a sparse file of 4 GiB is no trouble.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Result, bail, ensure};

/// Bytes in a page.
pub(super) const PAGE: usize = 4096;

/// How much is read at once.
const CHUNK: usize = 256 * PAGE;

/// Physical memory.
#[derive(Debug)]
pub(super) struct Memory {
    pages: BTreeMap<u64, Box<[u8]>>,
    len: u64,
}

impl Memory {
    /// Reads a raw image.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::from_reader(File::open(path)?)
    }

    /// An image in memory.
    #[cfg(test)]
    pub(super) fn from_bytes(data: &[u8]) -> Result<Self> {
        Self::from_reader(data)
    }

    fn from_reader(mut from: impl Read) -> Result<Self> {
        let zeros = [0; PAGE];
        let mut chunk = vec![0; CHUNK];
        let mut memory = Self {
            pages: BTreeMap::new(),
            len: 0,
        };
        loop {
            let len = fill(&mut from, &mut chunk)?;
            if memory.len == 0 {
                refuse_other_formats(&chunk[..len])?;
            }
            ensure!(
                len % PAGE == 0,
                "not a memory image: its {} bytes are no whole number of pages",
                memory.len + len as u64
            );
            for page in chunk[..len].chunks_exact(PAGE) {
                if page != zeros {
                    memory.pages.insert(memory.len, page.into());
                }
                memory.len += PAGE as u64;
            }
            if len < CHUNK {
                break;
            }
        }
        ensure!(memory.len > 0, "not a memory image: the file is empty");
        Ok(memory)
    }

    /// Bytes of the image.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Pages that are not all zeros, with their addresses.
    pub(super) fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(&address, page)| (address, &**page))
    }

    /// Copies what is at `address`, which may go over a page's end.
    pub(super) fn read(&self, address: u64, to: &mut [u8]) -> Option<()> {
        let end = address.checked_add(to.len() as u64)?;
        if end > self.len {
            return None;
        }
        let (mut at, mut rest) = (address, to);
        while !rest.is_empty() {
            let offset = (at % PAGE as u64) as usize;
            let (part, more) = rest.split_at_mut(rest.len().min(PAGE - offset));
            match self.pages.get(&(at - offset as u64)) {
                Some(page) => part.copy_from_slice(&page[offset..offset + part.len()]),
                None => part.fill(0),
            }
            at += part.len() as u64;
            rest = more;
        }
        Some(())
    }
}

fn fill(from: &mut impl Read, to: &mut [u8]) -> Result<usize> {
    let mut len = 0;
    while len < to.len() {
        match from.read(&mut to[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(len)
}

fn refuse_other_formats(start: &[u8]) -> Result<()> {
    if start.starts_with(b"PAGEDU64") || start.starts_with(b"PAGEDUMP") {
        bail!(
            "a Windows crash dump: this command reads raw images only, in which byte n is physical byte n"
        );
    }
    if start.starts_with(b"\x7fELF") {
        bail!(
            "an ELF file: this command reads raw images only, in which byte n is physical byte n"
        );
    }
    Ok(())
}

/// The little-endian u64 at `at`, if `data` has it.
pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// The little-endian u32 at `at`, if `data` has it.
pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(data: &[u8]) -> String {
        Memory::from_bytes(data)
            .map(drop)
            .expect_err("no image")
            .to_string()
    }

    #[test]
    fn files_that_are_no_image_are_refused_in_plain_words() {
        assert!(reason(b"").contains("empty"));
        assert!(reason(b"hello").contains("no whole number of pages"));
        let mut crash = vec![0; PAGE];
        crash[..8].copy_from_slice(b"PAGEDU64");
        assert!(reason(&crash).contains("Windows crash dump"));
        assert!(reason(b"\x7fELF\x02").contains("an ELF file"));
        assert!(Memory::open(Path::new("/nowhere/at all")).is_err());
    }

    #[test]
    fn a_read_goes_over_page_ends_and_stops_at_the_end() {
        let mut data = vec![0; 3 * PAGE];
        data[PAGE - 1] = 1;
        data[2 * PAGE] = 2;
        let memory = Memory::from_bytes(&data).expect("an image");
        assert_eq!(
            memory.pages().map(|(at, _)| at).collect::<Vec<_>>(),
            [0, 2 * PAGE as u64]
        );
        let mut bytes = [9; PAGE + 2];
        memory.read(PAGE as u64 - 1, &mut bytes).expect("inside");
        assert_eq!((bytes[0], bytes[1], bytes[PAGE + 1]), (1, 0, 2));
        assert!(memory.read(3 * PAGE as u64 - 1, &mut [0; 2]).is_none());
        assert!(memory.read(u64::MAX, &mut [0; 2]).is_none());
    }
}
