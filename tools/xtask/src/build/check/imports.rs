// SPDX-License-Identifier: BSD-2-Clause
//! Imports: nothing newer than Windows 10 1607 (Windows Server 2016), the oldest system that the package supports.
//!
//! `exports.txt` lists every kernel export that an image may use with the first Windows that has it, taken from
//! "Minimum supported client" in Microsoft's public reference. A name that isn't listed fails, so that somebody looks it up.

use std::path::Path;

use anyhow::{Context, Result};
use object::{LittleEndian as LE, Object};

use super::Problems;
use crate::build::image::Image;

const LIST: &str = include_str!("exports.txt");
/// Systems in the order of their release, as `exports.txt` names them.
const RELEASES: [&str; 10] = [
    "2000", "xp", "2003", "vista", "7", "8", "8.1", "10-1507", "10-1511", "10-1607",
];

pub(super) fn check(problems: &mut Problems<'_>, beside: &Path) -> Result<()> {
    for import in imports(problems.image)? {
        let complaint = match import.library.to_ascii_lowercase().as_str() {
            "ntoskrnl.exe" | "hal.dll" => import.name.as_deref().map_or_else(
                || Some("an import by number; import by name".to_owned()),
                |name| complaint(name, LIST),
            ),
            library
                if crate::build::IMAGES
                    .iter()
                    .any(|ours| library == format!("{ours}.sys")) =>
            {
                missing_in_sibling(&beside.join(library), import.name.as_deref())?
            }
            _ => Some("not a kernel image of Windows or of this package".to_owned()),
        };
        if let Some(complaint) = complaint {
            let name = import.name.as_deref().unwrap_or("(by number)");
            problems.add("import", format!("{}!{name}: {complaint}", import.library));
        }
    }
    Ok(())
}

/// What is wrong with importing `name`, given the list of known exports.
fn complaint(name: &str, list: &str) -> Option<String> {
    let since = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .find_map(|(listed, since)| (listed == name).then_some(since.trim()));
    match since {
        Some(since) if RELEASES.contains(&since) => None,
        Some(since) => Some(format!(
            "appeared in Windows {since}, newer than 10-1607: a static import keeps the driver from loading on Server 2016; \
             look it up with MmGetSystemRoutineAddress or use an older function"
        )),
        None => Some("not in tools/xtask/src/build/check/exports.txt: look up its \"Minimum supported client\" and add it".to_owned()),
    }
}

/// An import from another image of the package must be there; without that image nothing can be said.
fn missing_in_sibling(path: &Path, name: Option<&str>) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(Some(format!(
            "{} isn't built: build all images",
            path.file_name().unwrap_or_default().display()
        )));
    }
    let sibling = Image::load(path)?;
    let exports = sibling.pe()?.exports().context("bad export table")?;
    let found = name.is_some_and(|name| {
        exports
            .iter()
            .any(|export| export.name() == name.as_bytes())
    });
    Ok((!found)
        .then(|| "the image doesn't export it: define it there, `#[unsafe(no_mangle)]`".to_owned()))
}

pub(super) struct Import {
    pub(super) library: String,
    pub(super) name: Option<String>,
}

pub(super) fn imports(image: &Image) -> Result<Vec<Import>> {
    use object::read::pe::Import as Raw;
    let pe = image.pe()?;
    let mut list = Vec::new();
    let Some(table) = pe.import_table()? else {
        return Ok(list);
    };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let library = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
        while let Some(thunk) = thunks.next::<object::pe::ImageNtHeaders64>()? {
            let name = match table.import::<object::pe::ImageNtHeaders64>(thunk)? {
                Raw::Name(_, name) => Some(String::from_utf8_lossy(name).into_owned()),
                Raw::Ordinal(_) => None,
            };
            list.push(Import {
                library: library.clone(),
                name,
            });
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "# comment\nKeSetEvent\t2000\nExAllocatePool2\t10-2004\n";

    #[test]
    fn an_old_export_passes_and_a_newer_or_unknown_one_is_named() {
        assert_eq!(complaint("KeSetEvent", SMALL), None);
        assert!(
            complaint("ExAllocatePool2", SMALL)
                .unwrap()
                .contains("10-2004")
        );
        assert!(
            complaint("KeSetEvent2", SMALL)
                .unwrap()
                .contains("exports.txt")
        );
    }

    #[test]
    fn the_list_is_sorted_and_names_releases() {
        let mut last = "";
        for line in LIST
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (name, since) = line.split_once('\t').unwrap();
            assert!(last < name, "{name} is out of order or listed twice");
            assert!(
                RELEASES.contains(&since) || since.starts_with("10-") || since.starts_with("11"),
                "{line}"
            );
            last = name;
        }
    }
}
