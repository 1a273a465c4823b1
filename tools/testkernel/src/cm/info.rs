// SPDX-License-Identifier: BSD-2-Clause
//! The information classes of `ZwQueryKey`, `ZwEnumerateKey`, `ZwQueryValueKey` and
//! `ZwEnumerateValueKey`, built as byte images.
//!
//! An image knows how long its fixed part is; [`Image::store`] applies NT's rule: too small for the
//! fixed part is `STATUS_BUFFER_TOO_SMALL`, too small for the rest is `STATUS_BUFFER_OVERFLOW` with as
//! much as fits, and the size needed is always reported. Pure; any IRQL.

use alloc::vec::Vec;

use super::status;
use super::tree::{KeyId, Registry, Result, Value};

/// A record as the caller will see it.
#[derive(Debug)]
pub(crate) struct Image {
    bytes: Vec<u8>,
    fixed: usize,
}

#[derive(Default)]
struct Builder(Vec<u8>);

impl Builder {
    fn u32(mut self, value: usize) -> Self {
        self.0
            .extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
        self
    }

    fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn align(mut self, to: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    fn text(mut self, text: &[u16]) -> Self {
        self.0
            .extend(text.iter().flat_map(|unit| unit.to_le_bytes()));
        self
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend(data);
        self
    }

    fn image(self, fixed: usize) -> Image {
        Image {
            bytes: self.0,
            fixed,
        }
    }
}

impl Image {
    /// Copies what fits into `buffer` and returns the status and the size needed.
    pub(crate) fn store(&self, buffer: &mut [u8]) -> (i32, u32) {
        let needed = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if buffer.len() < self.fixed {
            return (status::BUFFER_TOO_SMALL, needed);
        }
        let count = buffer.len().min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        let code = if count < self.bytes.len() {
            status::BUFFER_OVERFLOW
        } else {
            status::SUCCESS
        };
        (code, needed)
    }
}

/// Builds the image of `KEY_INFORMATION_CLASS` `class` for a key.
pub(crate) fn key(registry: &Registry, id: KeyId, class: u32) -> Result<Image> {
    let key = registry.key(id)?;
    let name = &key.name;
    let bytes = 2 * name.len();
    let head = Builder::default().i64(key.written).u32(0);
    Ok(match class {
        0 => head.u32(bytes).text(name).image(16),
        1 => head.u32(0xFFFF_FFFF).u32(0).u32(bytes).text(name).image(24),
        2 => {
            let children = key.children.iter().filter_map(|id| registry.key(*id).ok());
            let name_length = children
                .map(|child| 2 * child.name.len())
                .max()
                .unwrap_or(0);
            let value_name = key
                .values
                .iter()
                .map(|value| 2 * value.name.len())
                .max()
                .unwrap_or(0);
            let data = key
                .values
                .iter()
                .map(|value| value.data.len())
                .max()
                .unwrap_or(0);
            head.u32(0xFFFF_FFFF)
                .u32(0)
                .u32(key.children.len())
                .u32(name_length)
                .u32(0)
                .u32(key.values.len())
                .u32(value_name)
                .u32(data)
                .image(44)
        }
        3 => {
            let path = registry.path(id)?;
            Builder::default().u32(2 * path.len()).text(&path).image(4)
        }
        _ => return Err(status::INVALID_INFO_CLASS),
    })
}

/// Builds the image of `KEY_VALUE_INFORMATION_CLASS` `class` for a value.
pub(crate) fn value(value: &Value, class: u32) -> Result<Image> {
    let bytes = 2 * value.name.len();
    let kind = value.kind as usize;
    let length = value.data.len();
    Ok(match class {
        0 => Builder::default()
            .u32(0)
            .u32(kind)
            .u32(bytes)
            .text(&value.name)
            .image(12),
        1 | 3 => {
            let align = if class == 1 { 4 } else { 8 };
            let at = if length == 0 {
                0xFFFF_FFFF
            } else {
                (20 + bytes).next_multiple_of(align)
            };
            let head = Builder::default()
                .u32(0)
                .u32(kind)
                .u32(at)
                .u32(length)
                .u32(bytes);
            let head = head.text(&value.name);
            let head = if length == 0 { head } else { head.align(align) };
            head.data(&value.data).image(20)
        }
        2 => Builder::default()
            .u32(0)
            .u32(kind)
            .u32(length)
            .data(&value.data)
            .image(12),
        4 => Builder::default()
            .u32(kind)
            .u32(length)
            .data(&value.data)
            .image(8),
        _ => return Err(status::INVALID_INFO_CLASS),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::wide;
    use super::*;

    fn sample() -> (Registry, KeyId) {
        let mut registry = Registry::new();
        let id = registry
            .create_all(&wide(r"\Registry\Machine\Key"))
            .unwrap();
        registry.create(Some(id), &wide("Sub"), false, 0).unwrap();
        registry
            .create(Some(id), &wide("Longer"), false, 0)
            .unwrap();
        registry
            .set(id, &wide("Value"), 4, &[1, 2, 3, 4], 7)
            .unwrap();
        (registry, id)
    }

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_size_probe_reports_the_size_and_too_small() {
        let (registry, id) = sample();
        let image = key(&registry, id, 2).unwrap();
        assert_eq!(image.store(&mut []), (status::BUFFER_TOO_SMALL, 44));
        let image = value(registry.value(id, &wide("value")).unwrap(), 2).unwrap();
        assert_eq!(image.store(&mut []), (status::BUFFER_TOO_SMALL, 16));
        assert_eq!(image.store(&mut [0; 11]), (status::BUFFER_TOO_SMALL, 16));
    }

    #[test]
    fn a_buffer_that_holds_the_fixed_part_gets_as_much_as_fits() {
        let (registry, id) = sample();
        let image = value(registry.value(id, &wide("Value")).unwrap(), 2).unwrap();
        let mut buffer = [0xFF; 14];
        assert_eq!(image.store(&mut buffer), (status::BUFFER_OVERFLOW, 16));
        assert_eq!(number(&buffer, 8), 4);
        assert_eq!(buffer[12..], [1, 2]);
        let mut buffer = [0xFF; 18];
        assert_eq!(image.store(&mut buffer), (status::SUCCESS, 16));
        assert_eq!(buffer[12..], [1, 2, 3, 4, 0xFF, 0xFF]);
    }

    #[test]
    fn full_information_counts_keys_and_values_and_gives_byte_lengths() {
        let (registry, id) = sample();
        let mut buffer = [0; 48];
        assert_eq!(
            key(&registry, id, 2).unwrap().store(&mut buffer),
            (status::SUCCESS, 44)
        );
        assert_eq!(number(&buffer, 0x14), 2, "subkeys");
        assert_eq!(number(&buffer, 0x18), 12, "longest subkey name");
        assert_eq!(number(&buffer, 0x20), 1, "values");
        assert_eq!(number(&buffer, 0x24), 10, "longest value name");
        assert_eq!(number(&buffer, 0x28), 4, "longest data");
    }

    #[test]
    fn full_value_information_has_aligned_data_after_the_name() {
        let (registry, id) = sample();
        let mut buffer = [0; 64];
        let image = value(registry.value(id, &wide("Value")).unwrap(), 1).unwrap();
        assert_eq!(image.store(&mut buffer), (status::SUCCESS, 36));
        let at = number(&buffer, 8) as usize;
        assert_eq!(at, 32);
        assert_eq!(buffer[at..at + 4], [1, 2, 3, 4]);
    }

    #[test]
    fn name_information_is_the_whole_path() {
        let (registry, id) = sample();
        let mut buffer = [0; 64];
        let (code, size) = key(&registry, id, 3).unwrap().store(&mut buffer);
        assert_eq!(
            (code, size as usize),
            (0, 4 + 2 * r"\Registry\Machine\Key".len())
        );
        assert_eq!(
            key(&registry, id, 99).unwrap_err(),
            status::INVALID_INFO_CLASS
        );
    }
}
