// SPDX-License-Identifier: BSD-2-Clause
//! Values that say whose they are: `worker.key.version:` and letters that follow from these and the seed.
//!
//! Text without a NUL, so the published interface can write them.

use core::fmt::Write;

use crate::random::mix;

/// Longest value: what the published interface writes, and less than a daemon takes for one node.
pub(crate) const LONGEST: usize = 1000;

/// A value.
pub type Value = heapless::Vec<u8, LONGEST>;

/// What the key of a worker holds at a version; at most `size` bytes, but for the head.
#[must_use]
pub fn expected(seed: u64, size: u32, worker: u32, key: u32, version: u32) -> Value {
    let mut head = heapless::String::<40>::new();
    // 3 numbers of at most 10 digits and 3 signs have room.
    let _ = write!(head, "{worker}.{key}.{version}:");
    let mut value = Value::new();
    let _ = value.extend_from_slice(head.as_bytes());
    let mut state = mix(seed ^ mix(u64::from(worker) << 32 | u64::from(key)) ^ u64::from(version));
    let room = (size as usize).min(LONGEST).saturating_sub(value.len());
    let length = if room == 0 {
        0
    } else {
        room - (state as usize % (room / 2 + 1))
    };
    for at in 0..length {
        if at % 8 == 0 {
            state = mix(state);
        }
        let letter = b'a' + (state >> (at % 8 * 8) & 15) as u8;
        let _ = value.push(letter);
    }
    value
}

/// Version of a value that the key of a worker has, if it is one.
pub(crate) fn version_of(value: &[u8], seed: u64, size: u32, worker: u32, key: u32) -> Option<u32> {
    let head = core::str::from_utf8(value).ok()?.split_once(':')?.0;
    let version = head.rsplit_once('.')?.1.parse().ok()?;
    (expected(seed, size, worker, key, version) == value).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_version_and_no_other_value_does() {
        let value = expected(1, 64, 3, 7, 12);
        assert!(value.starts_with(b"3.7.12:"));
        assert!(value.len() <= 64 && value.len() > 30);
        assert_eq!(version_of(&value, 1, 64, 3, 7), Some(12));
        assert_eq!(version_of(&value, 1, 64, 3, 8), None);
        assert_eq!(version_of(&value, 2, 64, 3, 7), None);
        let mut torn = value.clone();
        torn.pop();
        assert_eq!(version_of(&torn, 1, 64, 3, 7), None);
        assert_eq!(version_of(b"", 1, 64, 3, 7), None);
    }

    #[test]
    fn sizes_are_kept_within_their_bounds() {
        for version in 0..50 {
            assert!(expected(9, 4000, 1, 1, version).len() <= LONGEST);
            assert!(!expected(9, 0, 1, 1, version).is_empty());
        }
    }
}
