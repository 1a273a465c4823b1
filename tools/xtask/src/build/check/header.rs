// SPDX-License-Identifier: BSD-2-Clause
//! Header fields and sections.

use anyhow::Result;
use object::{
    LittleEndian as LE, Object, ObjectSection,
    pe::{
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_RELOCS_STRIPPED, IMAGE_SCN_MEM_EXECUTE,
        IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_NATIVE,
    },
    read::pe::ImageNtHeaders,
};

use super::Problems;

const PAGE: u32 = 4096;
const FLAGS: [(u16, &str, &str); 4] = [
    (
        IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        "integrity",
        "/INTEGRITYCHECK",
    ),
    (
        IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        "no-execute",
        "/NXCOMPAT",
    ),
    (
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE,
        "relocatable",
        "/DYNAMICBASE",
    ),
    (
        IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
        "relocatable",
        "/HIGHENTROPYVA",
    ),
];

pub(super) fn check(problems: &mut Problems<'_>) -> Result<()> {
    let image = problems.image;
    let pe = image.pe()?;
    let headers: &object::pe::ImageNtHeaders64 = pe.nt_headers();
    let optional = image.optional_header()?;
    if headers.file_header().machine.get(LE) != IMAGE_FILE_MACHINE_AMD64 {
        problems.add("machine", "not an x86-64 image");
    }
    let subsystem = optional.subsystem.get(LE);
    if subsystem != IMAGE_SUBSYSTEM_NATIVE {
        problems.add(
            "subsystem",
            format!("subsystem is {subsystem}, not native (1): link with /SUBSYSTEM:NATIVE"),
        );
    }
    let characteristics = optional.dll_characteristics.get(LE);
    for (flag, rule, option) in FLAGS {
        if characteristics & flag == 0 {
            problems.add(
                rule,
                format!("header flag {flag:#x} is missing: link with {option}"),
            );
        }
    }
    if headers.file_header().characteristics.get(LE) & IMAGE_FILE_RELOCS_STRIPPED != 0 {
        problems.add(
            "relocatable",
            "relocations are stripped: link without /FIXED",
        );
    }
    if optional.address_of_entry_point.get(LE) == 0 {
        problems.add("entry", "no entry point: link with /ENTRY:DriverEntry");
    }
    if optional.section_alignment.get(LE) % PAGE != 0 {
        problems.add(
            "page-aligned",
            format!(
                "sections are aligned to {:#x}: link with /ALIGN:4096",
                optional.section_alignment.get(LE)
            ),
        );
    }
    if pe
        .section_by_name(".rsrc")
        .is_none_or(|section| section.size() == 0)
    {
        problems.add(
            "version",
            "no version resource: give the linker the .res file",
        );
    }
    let (stored, computed) = (optional.check_sum.get(LE), checksum(&image.data));
    if stored != computed {
        problems.add(
            "checksum",
            format!(
                "header has {stored:#x}, the file sums up to {computed:#x}: link with /RELEASE"
            ),
        );
    }
    for section in image.sections()? {
        let both = IMAGE_SCN_MEM_WRITE | IMAGE_SCN_MEM_EXECUTE;
        if section.characteristics & both == both {
            problems.add(
                "writable-code",
                format!(
                    "section {} is writable and executable: split it",
                    section.name
                ),
            );
        }
    }
    Ok(())
}

/// The checksum of a PE file: 16-bit one's complement sum of all words but the checksum itself, plus the length.
fn checksum(data: &[u8]) -> u32 {
    let field = data
        .get(0x3C..)
        .and_then(|tail| tail.first_chunk())
        .map_or(usize::MAX, |offset| {
            (u32::from_le_bytes(*offset) as usize).saturating_add(24 + 64)
        });
    let mut sum = 0u32;
    for (index, pair) in data.chunks(2).enumerate() {
        let at = index * 2;
        if at == field || at == field.wrapping_add(2) {
            continue;
        }
        sum += u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 8;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum.wrapping_add(u32::try_from(data.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_skips_its_own_field_and_adds_the_length() {
        let mut data = vec![0u8; 0x3C];
        data.extend(0x40u32.to_le_bytes());
        data.resize(0x40 + 24 + 68, 0);
        data[0] = 0x4D;
        let without = checksum(&data);
        data[0x40 + 24 + 64..].copy_from_slice(&0xFFFF_1234u32.to_le_bytes());
        assert_eq!(checksum(&data), without);
        assert_eq!(without, 0x4D + 0x40 + data.len() as u32);
        data[2..6].copy_from_slice(&[0xFF; 4]);
        assert_eq!(checksum(&data), without);
    }
}
