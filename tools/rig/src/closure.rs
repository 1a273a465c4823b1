// SPDX-License-Identifier: BSD-2-Clause
//! The shared libraries that a program out of the packages needs, found by reading the ELF files: nothing is run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::elf::FileHeader64;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::error::{Context, Error, Result};

/// Where Debian's loader looks, below the packages' root.
pub(crate) const LIBRARY_DIRS: &[&str] = &[
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
];

/// The loader itself.
pub(crate) const LOADER: &str = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// Names in the DT_NEEDED entries of an ELF64 file; empty for a static or a different file.
fn needed(data: &[u8]) -> Option<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let dynamic = segments
        .iter()
        .find_map(|s| s.dynamic(endian, data).ok().flatten())?;
    let value = |tag: u32| {
        dynamic
            .iter()
            .find(|d| d.tag32(endian) == Some(tag))
            .map(|d| d.d_val(endian))
    };
    let (at, len) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let strings = segments
        .iter()
        .find_map(|s| s.data_range(endian, data, at, len).ok().flatten())?;
    let name = |offset: u64| {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
    };
    Some(
        dynamic
            .iter()
            .filter(|d| d.tag32(endian) == Some(elf::DT_NEEDED))
            .filter_map(|d| name(d.d_val(endian)))
            .collect(),
    )
}

/// All libraries that `programs` need below `root`, directly or not: file name and where it is.
///
/// # Errors
/// Names the library that no package brought.
pub(crate) fn closure(
    root: &Path,
    programs: &[PathBuf],
    extra: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(PathBuf, String)> = extra
        .iter()
        .map(|n| (PathBuf::from("the rig"), (*n).to_owned()))
        .collect();
    for program in programs {
        let data = fs::read(program).at("read", program)?;
        open.extend(
            needed(&data)
                .unwrap_or_default()
                .into_iter()
                .map(|n| (program.clone(), n)),
        );
    }
    while let Some((user, name)) = open.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let path = LIBRARY_DIRS
            .iter()
            .map(|d| root.join(d).join(&name))
            .find(|p| p.exists())
            .ok_or_else(|| {
                Error::missing(format!(
                    "{} needs {name}, which is in none of the packages",
                    user.display()
                ))
            })?;
        let data = fs::read(&path).at("read", &path)?;
        open.extend(
            needed(&data)
                .unwrap_or_default()
                .into_iter()
                .map(|n| (path.clone(), n)),
        );
        found.insert(name, path);
    }
    Ok(found)
}
