// SPDX-License-Identifier: BSD-2-Clause
//! What the loader needs of a PE32+ file, checked: sections, relocations, imports, exports, entry point.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use object_core::pe::{
    IMAGE_DIRECTORY_ENTRY_EXPORT, IMAGE_REL_BASED_ABSOLUTE, IMAGE_REL_BASED_DIR64,
};
use object_core::read::pe::{ImageNtHeaders, ImageOptionalHeader, Import, PeFile64};
use object_core::{LittleEndian as LE, Object};

/// A section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) rva: usize,
    pub(crate) size: usize,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// One imported name and the slot that gets its address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedName {
    pub(crate) library: String,
    pub(crate) name: String,
    pub(crate) slot: usize,
}

/// A parsed image.
#[derive(Debug)]
pub(crate) struct Pe {
    pub(crate) size: usize,
    pub(crate) entry: usize,
    pub(crate) base: u64,
    pub(crate) sections: Vec<Section>,
    pub(crate) relocations: Vec<usize>,
    pub(crate) imports: Vec<ImportedName>,
    pub(crate) exports: Vec<(String, usize)>,
    /// The image as it lies in memory, before relocation.
    pub(crate) memory: Vec<u8>,
}

/// Largest image that is accepted.
const LIMIT: usize = 16 << 20;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Parses a file; `Err` says what is wrong with it.
pub(crate) fn parse(data: &[u8]) -> Result<Pe, String> {
    let file = PeFile64::parse(data).map_err(|_| "is not a PE image".to_string())?;
    let optional = file.nt_headers().optional_header();
    if file.nt_headers().file_header().machine.get(LE) != 0x8664 {
        return Err("is a PE image for another machine".to_string());
    }
    if optional.subsystem() != 1 {
        return Err(format!(
            "has subsystem {}, not native",
            optional.subsystem()
        ));
    }
    let size = optional.size_of_image() as usize;
    if size == 0 || size > LIMIT {
        return Err(format!("has an image size of {size:#x}"));
    }
    let bad = |what: &str| format!("is a damaged PE image: {what}");
    let mut memory = alloc::vec![0u8; size];
    let headers = (optional.size_of_headers() as usize).min(size);
    memory[..headers].copy_from_slice(data.get(..headers).ok_or_else(|| bad("headers"))?);
    let mut sections = Vec::new();
    for section in file.section_table().iter() {
        let rva = section.virtual_address.get(LE) as usize;
        let virtual_size = section.virtual_size.get(LE) as usize;
        let raw = section.pe_data(data).map_err(|_| bad("section data"))?;
        let len = raw.len().min(virtual_size);
        let end = rva
            .checked_add(virtual_size)
            .filter(|e| *e <= size)
            .ok_or_else(|| bad("section range"))?;
        memory[rva..rva + len].copy_from_slice(&raw[..len]);
        let flags = section.characteristics.get(LE);
        sections.push(Section {
            name: text(section.raw_name()),
            rva,
            size: end - rva,
            write: flags & 0x8000_0000 != 0,
            execute: flags & 0x2000_0000 != 0,
        });
    }
    let mut pe = Pe {
        size,
        entry: optional.address_of_entry_point() as usize,
        base: optional.image_base(),
        sections,
        relocations: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        memory,
    };
    relocations(&file, data, &mut pe).map_err(|e| bad(&e))?;
    imports(&file, &mut pe).map_err(|e| bad(&e))?;
    exports(&file, &mut pe).map_err(|e| bad(&e))?;
    Ok(pe)
}

fn relocations(file: &PeFile64<'_>, data: &[u8], pe: &mut Pe) -> Result<(), String> {
    let directories = file.data_directories();
    let Some(mut blocks) = directories
        .relocation_blocks(data, &file.section_table())
        .map_err(|e| e.to_string())?
    else {
        return Ok(());
    };
    while let Some(block) = blocks.next().map_err(|e| e.to_string())? {
        for relocation in block {
            match relocation.typ {
                IMAGE_REL_BASED_ABSOLUTE => {}
                IMAGE_REL_BASED_DIR64 => {
                    let at = relocation.virtual_address as usize;
                    if at + 8 > pe.size {
                        return Err("relocation out of range".to_string());
                    }
                    pe.relocations.push(at);
                }
                other => return Err(format!("relocation type {other}")),
            }
        }
    }
    Ok(())
}

fn imports(file: &PeFile64<'_>, pe: &mut Pe) -> Result<(), String> {
    let Some(table) = file.import_table().map_err(|e| e.to_string())? else {
        return Ok(());
    };
    let mut descriptors = table.descriptors().map_err(|e| e.to_string())?;
    while let Some(descriptor) = descriptors.next().map_err(|e| e.to_string())? {
        let library = text(
            table
                .name(descriptor.name.get(LE))
                .map_err(|e| e.to_string())?,
        );
        let first = descriptor.first_thunk.get(LE);
        let names = match descriptor.original_first_thunk.get(LE) {
            0 => first,
            names => names,
        };
        let mut thunks = table.thunks(names).map_err(|e| e.to_string())?;
        let mut slot = first as usize;
        while let Some(thunk) = thunks
            .next::<object_core::pe::ImageNtHeaders64>()
            .map_err(|e| e.to_string())?
        {
            match table
                .import::<object_core::pe::ImageNtHeaders64>(thunk)
                .map_err(|e| e.to_string())?
            {
                Import::Ordinal(n) => return Err(format!("import of {library} by ordinal {n}")),
                Import::Name(_, name) => {
                    if slot + 8 > pe.size {
                        return Err("import slot out of range".to_string());
                    }
                    pe.imports.push(ImportedName {
                        library: library.clone(),
                        name: text(name),
                        slot,
                    });
                }
            }
            slot += 8;
        }
    }
    Ok(())
}

fn exports(file: &PeFile64<'_>, pe: &mut Pe) -> Result<(), String> {
    if file.data_directory(IMAGE_DIRECTORY_ENTRY_EXPORT).is_none() {
        return Ok(());
    }
    let base = file.relative_address_base();
    for export in file.exports().map_err(|e| e.to_string())? {
        pe.exports
            .push((text(export.name()), (export.address() - base) as usize));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pe_file_is_refused_in_plain_words() {
        assert_eq!(
            parse(b"MZ but nothing else").err().as_deref(),
            Some("is not a PE image")
        );
        assert_eq!(parse(&[]).err().as_deref(), Some("is not a PE image"));
        assert_eq!(
            parse(b"\x7fELF").err().as_deref(),
            Some("is not a PE image")
        );
    }
}
