// SPDX-License-Identifier: BSD-2-Clause
//! Puts drivers, registry and boot options behind the test kernel's image.
//!
//! The payload is a ustar archive, appended to the ELF file as one more segment that is loaded at [`ADDRESS`].
//! The kernel finds it through a header of 32 bytes, aligned to 8, that begins with [`MAGIC`]: `u64` address and
//! `u64` length follow, zero until packed.

use std::collections::BTreeMap;

use object::elf::{FileHeader32, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, pod};

use crate::error::{Error, Kind, Result};

/// Where the payload is loaded: physical, 32 MiB.
pub const ADDRESS: u64 = 0x0200_0000;

/// First bytes of the header in the kernel's image.
pub const MAGIC: &[u8; 8] = b"NTPAYLD0";

const PAGE: usize = 4096;

/// Files for the kernel, by archive name: `boot.cfg`, `registry.txt`, `drivers/NAME.sys`.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    files: BTreeMap<String, Vec<u8>>,
}

impl Payload {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.into(), data.into());
        self
    }

    /// Adds `drivers/NAME`.
    #[must_use]
    pub fn driver(self, name: &str, image: impl Into<Vec<u8>>) -> Self {
        self.file(format!("drivers/{name}"), image)
    }

    /// Sets `boot.cfg`, one `key=value` a line.
    #[must_use]
    pub fn boot(self, text: &str) -> Self {
        self.file("boot.cfg", text.as_bytes())
    }

    /// Sets `registry.txt`.
    #[must_use]
    pub fn registry(self, text: &str) -> Self {
        self.file("registry.txt", text.as_bytes())
    }

    /// The archive.
    ///
    /// # Errors
    /// A name that ustar cannot hold.
    pub fn archive(&self) -> Result<Vec<u8>> {
        archive(
            self.files
                .iter()
                .map(|(name, data)| (name.as_str(), data.as_slice())),
        )
    }
}

/// A ustar archive of files, reproducible: no times, no owners.
pub(crate) fn archive<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        let bad = |e: std::io::Error| Error::new(Kind::Input, format!("{name}: {e}"));
        header.set_path(name).map_err(bad)?;
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        out.append(&header, data).map_err(bad)?;
    }
    out.into_inner()
        .map_err(|e| Error::new(Kind::Input, e.to_string()))
}

fn input(message: impl Into<String>) -> Error {
    Error::new(Kind::Input, message)
}

/// The kernel's image with `payload` as one more segment, its header filled in.
///
/// # Errors
/// The image is no little-endian ELF file, has no payload header or more than one, or reaches into the payload's place.
pub fn pack(kernel_elf: &[u8], payload: &Payload) -> Result<Vec<u8>> {
    let data = payload.archive()?;
    let mut image = kernel_elf.to_vec();
    fill_header(&mut image, data.len() as u64)?;
    match image.get(4) {
        Some(1) => append32(image, &data),
        Some(2) => append64(image, &data),
        _ => Err(input("the kernel is not an ELF file")),
    }
}

/// Writes address and length behind the magic.
fn fill_header(image: &mut [u8], len: u64) -> Result {
    let mut places = (0..image.len().saturating_sub(31)).step_by(8).filter(|at| {
        image[*at..].starts_with(MAGIC) && image[at + 8..at + 24].iter().all(|b| *b == 0)
    });
    let at = places
        .next()
        .ok_or_else(|| input("the kernel has no payload header (NTPAYLD0)"))?;
    if places.next().is_some() {
        return Err(input(
            "the kernel has more than one payload header (NTPAYLD0)",
        ));
    }
    image[at + 8..at + 16].copy_from_slice(&ADDRESS.to_le_bytes());
    image[at + 16..at + 24].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Lowest free address after all loaded segments must be below the payload.
fn check_room(ends: impl Iterator<Item = (u64, u64)>) -> Result {
    for (start, end) in ends {
        if start < ADDRESS && end > ADDRESS {
            return Err(input(format!(
                "the kernel's segment {start:#x}..{end:#x} reaches into the payload"
            )));
        }
    }
    Ok(())
}

/// Appends data, then a new program header table; returns the offsets of both.
fn append(image: &mut Vec<u8>, data: &[u8]) -> (usize, usize) {
    image.resize(image.len().next_multiple_of(PAGE), 0);
    let data_at = image.len();
    image.extend_from_slice(data);
    image.resize(image.len().next_multiple_of(16), 0);
    (data_at, image.len())
}

macro_rules! appender {
    ($name:ident, $header:ident, $word:ty, $phoff:expr, $phnum:expr, $entry:expr) => {
        fn $name(mut image: Vec<u8>, data: &[u8]) -> Result<Vec<u8>> {
            let bad = |e: object::Error| input(format!("the kernel's ELF header: {e}"));
            let mut table = Vec::new();
            let count = {
                let header = $header::<Endianness>::parse(image.as_slice()).map_err(bad)?;
                let endian = header.endian().map_err(bad)?;
                if endian != Endianness::Little {
                    return Err(input("the kernel is a big-endian ELF file"));
                }
                let segments = header
                    .program_headers(endian, image.as_slice())
                    .map_err(bad)?;
                check_room(
                    segments
                        .iter()
                        .filter(|s| s.p_type(endian) == PT_LOAD)
                        .map(|s| {
                            let start: u64 = s.p_paddr(endian).into();
                            let size: u64 = s.p_memsz(endian).into();
                            (start, start.saturating_add(size))
                        }),
                )?;
                table.extend_from_slice(pod::bytes_of_slice(segments));
                segments.len() + 1
            };
            let (data_at, table_at) = append(&mut image, data);
            let word =
                |n: usize| <$word>::try_from(n).map_err(|_| input("the payload is too large"));
            let address =
                <$word>::try_from(ADDRESS).map_err(|_| input("the payload is too high"))?;
            let entry: &dyn Fn($word, $word, $word) -> Vec<u8> = &$entry;
            table.extend(entry(word(data_at)?, address, word(data.len())?));
            image.extend_from_slice(&table);
            let offset = word(table_at)?.to_le_bytes();
            image[$phoff..$phoff + offset.len()].copy_from_slice(&offset);
            let count = u16::try_from(count).map_err(|_| input("too many segments"))?;
            image[$phnum..$phnum + 2].copy_from_slice(&count.to_le_bytes());
            Ok(image)
        }
    };
}

appender!(
    append64,
    FileHeader64,
    u64,
    0x20,
    0x38,
    |offset, address, len| {
        let mut entry: Vec<u8> = [PT_LOAD, 4].iter().flat_map(|w| w.to_le_bytes()).collect();
        for field in [offset, address, address, len, len, PAGE as u64] {
            entry.extend(field.to_le_bytes());
        }
        entry
    }
);

appender!(
    append32,
    FileHeader32,
    u32,
    0x1c,
    0x2c,
    |offset, address, len| {
        [PT_LOAD, offset, address, address, len, len, 4, PAGE as u32]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect()
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::ProgramHeader;

    /// An ELF64 file with one segment at 1 MiB that holds `content`.
    fn kernel(content: &[u8], memory: u64) -> Vec<u8> {
        let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        for word in [0x10_0000u64, 64, 0] {
            image.extend(word.to_le_bytes());
        }
        image.extend([0, 0, 0, 0]);
        for half in [64u16, 56, 1, 0, 0, 0] {
            image.extend(half.to_le_bytes());
        }
        image.extend([1, 0, 0, 0, 7, 0, 0, 0]);
        for word in [120, 0x10_0000, 0x10_0000, content.len() as u64, memory, 8] {
            image.extend(word.to_le_bytes());
        }
        image.extend(content);
        image
    }

    fn header() -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.resize(32, 0);
        header
    }

    #[test]
    fn the_archive_becomes_a_segment_and_the_header_points_to_it() {
        let payload = Payload::new()
            .boot("seed=7\n")
            .driver("xen.sys", b"MZ".as_slice());
        let packed = pack(&kernel(&header(), 64), &payload).expect("pack");
        let archive = payload.archive().expect("archive");
        let word = |at: usize| u64::from_le_bytes(packed[at..at + 8].try_into().expect("8"));
        assert_eq!((word(128), word(136)), (ADDRESS, archive.len() as u64));

        let elf = FileHeader64::<Endianness>::parse(packed.as_slice()).expect("elf");
        let segments = elf
            .program_headers(Endianness::Little, packed.as_slice())
            .expect("segments");
        assert_eq!(segments.len(), 2);
        let last = &segments[1];
        assert_eq!(last.p_paddr(Endianness::Little), ADDRESS);
        assert_eq!(
            last.data(Endianness::Little, packed.as_slice()),
            Ok(archive.as_slice())
        );
        let names: Vec<String> = tar::Archive::new(archive.as_slice())
            .entries()
            .expect("entries")
            .map(|e| {
                e.expect("entry")
                    .path()
                    .expect("path")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["boot.cfg", "drivers/xen.sys"]);
    }

    #[test]
    fn the_same_payload_gives_the_same_bytes() {
        let payload = Payload::new().registry("K\t\\Registry\\Machine\n");
        assert_eq!(
            payload.archive().expect("one"),
            payload.archive().expect("two")
        );
    }

    #[test]
    fn images_that_cannot_be_packed_are_refused_with_a_reason() {
        let two = [header(), header()].concat();
        for (image, reason) in [
            (b"MZ, not ELF".to_vec(), "no payload header"),
            (
                [b"MZ not ELF\0\0\0\0\0\0".to_vec(), header()].concat(),
                "not an ELF file",
            ),
            (kernel(b"nothing here", 64), "no payload header"),
            (kernel(&two, 64), "more than one payload header"),
            (kernel(&header(), 0x0300_0000), "reaches into the payload"),
        ] {
            let error = pack(&image, &Payload::new()).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
