// SPDX-License-Identifier: BSD-2-Clause
//! Reads `registry.txt`, the registry's content at boot.
//!
//! One entry a line, tab separated: `K key` creates a key and its parents, `V key name type data` sets
//! a value. An error names its line, and the run fails: a half-filled registry would test nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::tree::{Registry, wide};

const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;
const REG_MULTI_SZ: u32 = 7;
const REG_QWORD: u32 = 11;

/// Adds the entries of `text` to `registry`.
pub(crate) fn load(registry: &mut Registry, text: &str) -> Result<(), String> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        entry(registry, line).map_err(|why| format!("registry.txt line {}: {why}", index + 1))?;
    }
    Ok(())
}

fn entry(registry: &mut Registry, line: &str) -> Result<(), String> {
    let fields: Vec<&str> = line.splitn(5, '\t').collect();
    let (path, value) = match fields[..] {
        ["K", path] => (path, None),
        ["V", path, name, kind] => (path, Some((name, kind, ""))),
        ["V", path, name, kind, data] => (path, Some((name, kind, data))),
        _ => return Err("not an entry".to_string()),
    };
    let key = registry
        .create_all(&wide(path))
        .map_err(|_| format!("bad key {path}"))?;
    if let Some((name, kind, data)) = value {
        let (kind, data) = convert(kind, data)?;
        registry
            .set(key, &wide(name), kind, &data, 0)
            .map_err(|code| format!("set fails with {code:#x}"))?;
    }
    Ok(())
}

fn convert(kind: &str, data: &str) -> Result<(u32, Vec<u8>), String> {
    Ok(match kind {
        "sz" => (REG_SZ, terminated(data)),
        "expand_sz" => (REG_EXPAND_SZ, terminated(data)),
        "multi_sz" => {
            let items = data.split('|').filter(|item| !item.is_empty());
            let mut bytes: Vec<u8> = items.flat_map(terminated).collect();
            bytes.extend([0, 0]);
            (REG_MULTI_SZ, bytes)
        }
        "dword" => {
            let value = u32::try_from(number(data)?).map_err(|_| format!("{data} is too large"))?;
            (REG_DWORD, value.to_le_bytes().to_vec())
        }
        "qword" => (REG_QWORD, number(data)?.to_le_bytes().to_vec()),
        "binary" => (REG_BINARY, hex(data)?),
        _ => return Err(format!("unknown type {kind}")),
    })
}

fn terminated(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is not a number"))
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|c| !matches!(c, b' ' | b',')).collect();
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hex digits".to_string());
    }
    let pair = |pair: &[u8]| {
        let text = core::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    digits
        .chunks(2)
        .map(|two| pair(two).ok_or_else(|| format!("{text} is not hex")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_loads() {
        let mut registry = Registry::new();
        let text = "K\t\\Registry\\Machine\\A\\B\n\
            V\t\\Registry\\Machine\\A\tText\tsz\thi there\n\
            V\t\\Registry\\Machine\\A\tEmpty\tsz\t\n\
            V\t\\Registry\\Machine\\A\tMany\tmulti_sz\tx|y\n\
            V\t\\Registry\\Machine\\A\tNum\tdword\t0x10\n\
            V\t\\Registry\\Machine\\A\tBig\tqword\t17\n\
            V\t\\Registry\\Machine\\A\tRaw\tbinary\t01ff\n";
        load(&mut registry, text).unwrap();
        assert!(registry.open(None, &wide(r"\registry\machine\a\b")).is_ok());
        let key = registry.open(None, &wide(r"\registry\machine\a")).unwrap();
        let data = |name| {
            let value = registry.value(key, &wide(name)).unwrap();
            (value.kind, value.data.clone())
        };
        assert_eq!(data("Text"), (1, terminated("hi there")));
        assert_eq!(data("Empty"), (1, [0, 0].to_vec()));
        assert_eq!(
            data("Many"),
            (7, [b'x', 0, 0, 0, b'y', 0, 0, 0, 0, 0].to_vec())
        );
        assert_eq!(data("Num"), (4, [16, 0, 0, 0].to_vec()));
        assert_eq!(data("Big"), (11, [17, 0, 0, 0, 0, 0, 0, 0].to_vec()));
        assert_eq!(data("Raw"), (3, [1, 255].to_vec()));
    }

    #[test]
    fn a_bad_line_is_named() {
        let mut registry = Registry::new();
        let fails = |registry: &mut Registry, text| load(registry, text).unwrap_err();
        assert_eq!(
            fails(&mut registry, "\nwhat"),
            "registry.txt line 2: not an entry"
        );
        assert!(fails(&mut registry, "V\t\\Registry\\A\tn\tdword\tzz").contains("not a number"));
        assert!(fails(&mut registry, "V\t\\Registry\\A\tn\tdword\t0x1ffffffff").contains("large"));
        assert!(fails(&mut registry, "V\t\\Registry\\A\tn\tblob\t0").contains("unknown type"));
        assert!(fails(&mut registry, "K\trelative").contains("bad key"));
    }
}
