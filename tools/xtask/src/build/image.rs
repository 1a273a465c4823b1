// SPDX-License-Identifier: BSD-2-Clause
//! A finished image, read back.

use std::path::Path;

use anyhow::{Context, Result};
use object::{
    LittleEndian as LE, Object, U32,
    pe::{IMAGE_DIRECTORY_ENTRY_EXCEPTION, ImageNtHeaders64},
    read::pe::{ImageNtHeaders, PeFile64},
};

use super::symbols::Symbols;
use crate::util;

/// One image with the names of its code.
pub(crate) struct Image {
    /// File name, `xen.sys`.
    pub(crate) name: String,
    /// The whole file.
    pub(crate) data: Vec<u8>,
    /// From the map file beside it; empty if there is none.
    pub(crate) symbols: Symbols,
}

/// A function as the exception directory describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// First byte.
    pub(crate) begin: u32,
    /// First byte after it.
    pub(crate) end: u32,
    /// Its unwind information.
    pub(crate) unwind: u32,
}

impl Image {
    /// Reads `path` and the map file beside it.
    ///
    /// # Errors
    ///
    /// It can't be read or isn't a 64-bit PE file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut image = Self {
            name,
            data: util::read(path)?,
            symbols: Symbols::default(),
        };
        let base = image.pe()?.relative_address_base();
        if let Ok(map) = std::fs::read_to_string(path.with_extension("map")) {
            image.symbols = Symbols::parse(&map, base);
        }
        Ok(image)
    }

    /// The parsed file.
    ///
    /// # Errors
    ///
    /// It isn't a 64-bit PE file.
    pub(crate) fn pe(&self) -> Result<PeFile64<'_>> {
        PeFile64::parse(&*self.data)
            .with_context(|| format!("{} isn't a 64-bit PE file", self.name))
    }

    /// Its optional header.
    ///
    /// # Errors
    ///
    /// As [`Image::pe`].
    pub(crate) fn optional_header(&self) -> Result<object::pe::ImageOptionalHeader64> {
        let pe = self.pe()?;
        let headers: &ImageNtHeaders64 = pe.nt_headers();
        Ok(*headers.optional_header())
    }

    /// The file's bytes at `rva`, up to the end of the section.
    ///
    /// # Errors
    ///
    /// `rva` isn't backed by the file.
    pub(crate) fn at(&self, rva: u32) -> Result<&[u8]> {
        let bytes = self.pe()?.section_table().pe_data_at(&*self.data, rva);
        bytes.with_context(|| format!("{}: nothing in the file at {rva:#x}", self.name))
    }

    /// Name, address, and contents of each section that is in memory.
    ///
    /// # Errors
    ///
    /// A section reaches past the end of the file.
    pub(crate) fn sections(&self) -> Result<Vec<Section<'_>>> {
        let pe = self.pe()?;
        let mut sections = Vec::new();
        for header in pe.section_table().iter() {
            let name = String::from_utf8_lossy(header.raw_name()).into_owned();
            let data = header
                .pe_data(&*self.data)
                .with_context(|| format!("{}: section {name} isn't all there", self.name))?;
            let size = header.virtual_size.get(LE);
            // The file rounds up; what lies beyond the virtual size is padding.
            let data = data.get(..size as usize).unwrap_or(data);
            sections.push(Section {
                name,
                rva: header.virtual_address.get(LE),
                size,
                characteristics: header.characteristics.get(LE),
                data,
            });
        }
        Ok(sections)
    }

    /// Functions with unwind information, in address order.
    ///
    /// # Errors
    ///
    /// The exception directory isn't all there.
    pub(crate) fn functions(&self) -> Result<Vec<Function>> {
        let pe = self.pe()?;
        let Some(directory) = pe.data_directory(IMAGE_DIRECTORY_ENTRY_EXCEPTION) else {
            return Ok(Vec::new());
        };
        let (rva, size) = directory.address_range();
        if rva == 0 {
            return Ok(Vec::new());
        }
        let table = self
            .at(rva)?
            .get(..size as usize)
            .with_context(|| format!("{}: exception directory cut short", self.name))?;
        let (entries, _) = object::slice_from_bytes::<[U32<LE>; 3]>(table, table.len() / 12)
            .map_err(|()| anyhow::anyhow!("{}: exception directory cut short", self.name))?;
        Ok(entries
            .iter()
            .map(|[begin, end, unwind]| Function {
                begin: begin.get(LE),
                end: end.get(LE),
                unwind: unwind.get(LE),
            })
            .collect())
    }
}

/// One section.
pub(crate) struct Section<'a> {
    /// Its name.
    pub(crate) name: String,
    /// Offset from the image's base.
    pub(crate) rva: u32,
    /// Size in memory.
    pub(crate) size: u32,
    /// `IMAGE_SCN_*` bits.
    pub(crate) characteristics: u32,
    /// What the file has of it.
    pub(crate) data: &'a [u8],
}
