// SPDX-License-Identifier: BSD-2-Clause
//! A set of drivers that somebody else has built: can it run on the test kernel at all?
//!
//! How such images are made is not our business, so none of the rules for ours holds. What must be is that each is a driver for x86-64,
//! that every import is exported by an image of the set or by the test kernel, and that xen.sys has the exports by which it
//! is known (`xen-exports.txt`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::{LittleEndian as LE, Object, pe::IMAGE_FILE_MACHINE_AMD64};

use super::imports::imports;
use crate::build::{image::Image, kernel};

/// The images of a set.
pub(crate) const SET: [&str; 3] = ["xen.sys", "xenbus.sys", "xenfilt.sys"];
const XEN_EXPORTS: &str = include_str!("xen-exports.txt");

/// Checks the set in `folder`; the paths of its images.
///
/// # Errors
///
/// An image is missing or no driver, or the set lacks an export; the message has all of them by name.
pub(crate) fn set(folder: &Path) -> Result<[PathBuf; SET.len()]> {
    ensure!(
        folder.is_dir(),
        "there is no folder {}: it must have {}",
        folder.display(),
        SET.join(", ")
    );
    let paths = SET.map(|name| folder.join(name));
    for (path, name) in paths.iter().zip(SET) {
        ensure!(
            path.is_file(),
            "{} has no {name}: a set of drivers is {}",
            folder.display(),
            SET.join(", ")
        );
    }
    let mut images = Vec::new();
    for path in &paths {
        let image = Image::load(path)?;
        let machine = image.pe()?.nt_headers().file_header.machine.get(LE);
        ensure!(
            machine == IMAGE_FILE_MACHINE_AMD64,
            "{} is for machine {machine:#x}, not for x86-64",
            path.display()
        );
        images.push((exports(&image)?, image));
    }
    let missing = missing(&images)?;
    if !missing.is_empty() {
        bail!(
            "the drivers of {} do not fit together:\n  {}",
            folder.display(),
            missing.join("\n  ")
        );
    }
    Ok(paths)
}

/// Names that an image exports.
fn exports(image: &Image) -> Result<Vec<String>> {
    let exports = image.pe()?.exports();
    let exports = exports.with_context(|| format!("{}: bad export table", image.name))?;
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(exports.iter().map(|export| name(export.name())).collect())
}

/// A line for each export that some image of the set needs and does not find.
fn missing(images: &[(Vec<String>, Image)]) -> Result<Vec<String>> {
    let kernel = kernel::exports()?;
    let mut lines = Vec::new();
    for (exports, image) in images {
        if image.name == SET[0] {
            let lacking = XEN_EXPORTS
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter(|name| !exports.iter().any(|export| export == name));
            lines.extend(lacking.map(|name| format!("xen.sys does not export {name}")));
        }
        for import in imports(image)? {
            let (library, importer) = (&import.library, &image.name);
            let sibling = images
                .iter()
                .find(|(_, image)| image.name.eq_ignore_ascii_case(library));
            let Some(name) = &import.name else {
                lines.push(format!("{importer} imports from {library} by number"));
                continue;
            };
            let found = match sibling {
                Some((exports, _)) => exports.contains(name),
                None if is_kernel(library) => kernel.contains(name),
                None => {
                    lines.push(format!(
                        "{importer} imports {name} from {library}, which is neither in the set nor the kernel"
                    ));
                    continue;
                }
            };
            let exporter = match sibling {
                Some((_, image)) => image.name.as_str(),
                None => "the test kernel",
            };
            let line = format!("{exporter} does not export {name}");
            let known = |other: &String| *other == line || other.starts_with(&format!("{line},"));
            if !found && !lines.iter().any(known) {
                lines.push(format!("{line}, which {importer} imports"));
            }
        }
    }
    Ok(lines)
}

fn is_kernel(library: &str) -> bool {
    ["ntoskrnl.exe", "hal.dll"]
        .iter()
        .any(|kernel| library.eq_ignore_ascii_case(kernel))
}

/// Changes the name of an export in the image at `path`, which then lacks it.
///
/// # Errors
///
/// The image can't be read or written, or has no such name, or has it more than once.
pub(crate) fn doctor(path: &Path, export: &str) -> Result<()> {
    let mut data = crate::util::read(path)?;
    let name = [&b"\0"[..], export.as_bytes(), b"\0"].concat();
    let mut places = data
        .windows(name.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == name)
        .map(|(at, _)| at);
    let (Some(at), None) = (places.next(), places.next()) else {
        bail!("{}: {export} is not there exactly once", path.display());
    };
    // Names are sorted; the last letter keeps this one where it is.
    data[at + export.len()] = b'_';
    std::fs::write(path, data).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_exports_is_sorted_by_name_behind_what_nt_calls() {
        let names: Vec<_> = XEN_EXPORTS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(names[..2], ["DllInitialize", "DllUnload"]);
        assert!(names[2..].is_sorted());
        assert!(names.contains(&"XenTouch") && names.contains(&"UnplugDevices"));
    }

    #[test]
    fn a_folder_that_is_no_set_is_refused() {
        let error = |folder: &Path| set(folder).expect_err("refused").to_string();
        let nowhere = error(Path::new("/nonexistent/drivers"));
        assert!(nowhere.contains("/nonexistent/drivers"), "{nowhere}");
        let empty = error(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(empty.contains("has no xen.sys"), "{empty}");
    }
}
