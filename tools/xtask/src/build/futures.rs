// SPDX-License-Identifier: BSD-2-Clause
//! Finds the size of every spawned future: kexec leaves a record per spawn site in the image's constants.
//!
//! The record, little endian: magic, size u32, align u32, then address and length u64 of the task's name and of its
//! source file, then line u32, column u32.

use anyhow::Result;

use super::image::Image;

const MAGIC: &[u8; 8] = b"KXTASK01";
const LEN: usize = 56;

/// A spawn site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Bytes of the future.
    pub(crate) size: u32,
    /// The task's static name.
    pub(crate) name: String,
    /// File and line of the spawn.
    pub(crate) place: String,
}

/// Every spawn site in `image`.
///
/// # Errors
///
/// The image can't be parsed.
pub(crate) fn tasks(image: &Image) -> Result<Vec<Task>> {
    let base = image
        .optional_header()?
        .image_base
        .get(object::LittleEndian);
    let mut found = Vec::new();
    for section in image.sections()? {
        for record in records(section.data) {
            let text = |address: u64, len: u64| {
                let rva = u32::try_from(address.checked_sub(base)?).ok()?;
                let bytes = image.at(rva).ok()?.get(..usize::try_from(len).ok()?)?;
                String::from_utf8(bytes.to_vec()).ok()
            };
            // The magic alone may also be the constant that kexec compares with.
            if let Some(task) = decode(record, text) {
                found.push(task);
            }
        }
    }
    Ok(found)
}

/// Places in `data` that start with the magic.
fn records(data: &[u8]) -> impl Iterator<Item = &[u8; LEN]> {
    (0..data.len())
        .step_by(8)
        .filter_map(|at| data.get(at..)?.first_chunk::<LEN>())
        .filter(|record| record.starts_with(MAGIC))
}

fn decode(record: &[u8; LEN], text: impl Fn(u64, u64) -> Option<String>) -> Option<Task> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let (size, align) = (u32_at(8)?, u32_at(12)?);
    if !align.is_power_of_two() {
        return None;
    }
    let name = text(u64_at(16)?, u64_at(24)?)?;
    let file = text(u64_at(32)?, u64_at(40)?)?;
    Some(Task {
        size,
        name,
        place: format!("{file}:{}", u32_at(48)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_size_name_and_place() {
        let mut data = vec![0u8; 16];
        data.extend(MAGIC);
        data.extend(640u32.to_le_bytes());
        data.extend(8u32.to_le_bytes());
        for word in [0x1000u64, 5, 0x2000, 8] {
            data.extend(word.to_le_bytes());
        }
        data.extend(42u32.to_le_bytes());
        data.extend(9u32.to_le_bytes());
        let text = |address: u64, len: u64| {
            let text = if address == 0x1000 {
                "store"
            } else {
                "store.rs"
            };
            (text.len() as u64 == len).then(|| text.to_owned())
        };
        let tasks: Vec<_> = records(&data)
            .filter_map(|record| decode(record, text))
            .collect();
        assert_eq!(
            tasks,
            [Task {
                size: 640,
                name: "store".into(),
                place: "store.rs:42".into()
            }]
        );
        // A magic with nothing sensible behind it is no record.
        data[28..32].copy_from_slice(&3u32.to_le_bytes());
        assert_eq!(
            records(&data)
                .filter_map(|record| decode(record, text))
                .count(),
            0
        );
    }
}
