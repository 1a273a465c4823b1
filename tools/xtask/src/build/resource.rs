// SPDX-License-Identifier: BSD-2-Clause
//! The version resource of an image, in the `.res` form that linkers take.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Flavor;
use crate::util;

const RT_VERSION: u16 = 16;
const ENGLISH_US: u16 = 0x0409;
const UNICODE: u16 = 0x04B0;
const FIXED_SIGNATURE: u32 = 0xFEEF_04BD;
const FLAG_DEBUG: u32 = 1;
const OS_NT: u32 = 0x0004_0004;
const TYPE_DRIVER: u32 = 3;
const SUBTYPE_SYSTEM_DRIVER: u32 = 7;

/// Major, minor and patch of the workspace, and the build number: `BUILD_NUMBER` in the environment, else 0.
///
/// # Errors
///
/// The build number isn't one.
pub(crate) fn version() -> Result<[u16; 4]> {
    let part = |text: &str| {
        text.parse::<u16>()
            .with_context(|| format!("the version has the part `{text}`"))
    };
    let build = match std::env::var("BUILD_NUMBER") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("BUILD_NUMBER is `{text}`, not a number below 65536"))?,
        Err(_) => 0,
    };
    Ok([
        part(env!("CARGO_PKG_VERSION_MAJOR"))?,
        part(env!("CARGO_PKG_VERSION_MINOR"))?,
        part(env!("CARGO_PKG_VERSION_PATCH"))?,
        build,
    ])
}

/// Writes `NAME.res` into `dir` and returns its path.
///
/// # Errors
///
/// The build number isn't one, or the file can't be written.
pub(crate) fn write(name: &str, flavor: Flavor, dir: &Path) -> Result<PathBuf> {
    let path = dir.join(name).with_extension("res");
    util::write_if_changed(&path, &resource_file(name, version()?, flavor))?;
    Ok(path)
}

fn resource_file(name: &str, version: [u16; 4], flavor: Flavor) -> Vec<u8> {
    let data = version_info(name, version, flavor);
    // An empty entry marks the 32-bit form of the file.
    let mut file = entry_header(0, 0, 0, 0);
    file.extend(entry_header(data.len(), RT_VERSION, 1, ENGLISH_US));
    file.extend(data);
    pad(&mut file);
    file
}

fn entry_header(size: usize, kind: u16, id: u16, language: u16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(len32(size).to_le_bytes());
    header.extend(32u32.to_le_bytes());
    for word in [0xFFFF, kind, 0xFFFF, id] {
        header.extend(word.to_le_bytes());
    }
    header.extend([0; 4]); // data version
    header.extend([0; 2]); // memory flags
    header.extend(language.to_le_bytes());
    header.extend([0; 8]); // version, characteristics
    header
}

fn version_info(name: &str, version: [u16; 4], flavor: Flavor) -> Vec<u8> {
    let [major, minor, patch, build] = version;
    let text = format!("{major}.{minor}.{patch}.{build}");
    let file = format!("{name}.sys");
    let strings = [
        ("FileDescription", format!("Xen PV {name} driver")),
        ("FileVersion", text.clone()),
        ("InternalName", file.clone()),
        ("OriginalFilename", file),
        ("ProductName", "Xen PV bus drivers".to_owned()),
        ("ProductVersion", text),
    ];
    let strings = strings.iter().map(|(key, value)| {
        let value = wide(value);
        node(key, &value, value.len() / 2, 1, &[])
    });
    let table = node(
        &format!("{ENGLISH_US:04X}{UNICODE:04X}"),
        &[],
        0,
        1,
        &strings.collect::<Vec<_>>(),
    );
    let mut translation = ENGLISH_US.to_le_bytes().to_vec();
    translation.extend(UNICODE.to_le_bytes());
    let var = node("Translation", &translation, translation.len(), 0, &[]);
    let fixed = fixed_info(version, flavor);
    node(
        "VS_VERSION_INFO",
        &fixed,
        fixed.len(),
        0,
        &[
            node("StringFileInfo", &[], 0, 1, &[table]),
            node("VarFileInfo", &[], 0, 1, &[var]),
        ],
    )
}

fn fixed_info([major, minor, patch, build]: [u16; 4], flavor: Flavor) -> Vec<u8> {
    let high = u32::from(major) << 16 | u32::from(minor);
    let low = u32::from(patch) << 16 | u32::from(build);
    let flags = if flavor == Flavor::Checked {
        FLAG_DEBUG
    } else {
        0
    };
    let words = [
        FIXED_SIGNATURE,
        0x0001_0000,
        high,
        low,
        high,
        low,
        FLAG_DEBUG,
        flags,
        OS_NT,
        TYPE_DRIVER,
        SUBTYPE_SYSTEM_DRIVER,
        0,
        0,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// One node of the tree: length, value length, type, key, value, children, each aligned to 4 bytes.
fn node(key: &str, value: &[u8], value_len: usize, kind: u16, children: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    bytes.extend(len16(value_len).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(wide(key));
    pad(&mut bytes);
    bytes.extend(value);
    for child in children {
        pad(&mut bytes);
        bytes.extend(child);
    }
    let len = len16(bytes.len());
    bytes[..2].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

// Every length here comes from the short texts above.
fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_names_version_and_file() {
        let file = resource_file("xen", [10, 2, 3, 44], Flavor::Free);
        assert_eq!(file.len() % 4, 0);
        let has = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
        assert!(has(&wide("xen.sys")) && has(&wide("10.2.3.44")));
        // Both entries and nothing else: 32 bytes, then 32 and the data.
        let data = u32::from_le_bytes(file[32..36].try_into().unwrap()) as usize;
        assert_eq!(file.len(), 64 + data.next_multiple_of(4));
        let info = u16::from_le_bytes(file[64..66].try_into().unwrap()) as usize;
        assert_eq!(info, data);
        assert_eq!(file[64 + 40..64 + 44], FIXED_SIGNATURE.to_le_bytes());
    }
}
