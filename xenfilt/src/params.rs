// SPDX-License-Identifier: BSD-2-Clause
//! The path of the driver's Parameters key, kept from DriverEntry for AddDevice, without an allocation.

const CAPACITY: usize = 256;
const BELOW: &[u8] = b"\\Parameters";

/// A registry path of bounded length.
///
/// # Invariants
/// `length` is at most the capacity.
#[derive(Clone, Copy, Debug)]
pub struct KeyPath {
    units: [u16; CAPACITY],
    length: usize,
}

impl KeyPath {
    /// No path yet.
    pub const EMPTY: Self = Self {
        units: [0; CAPACITY],
        length: 0,
    };

    /// The Parameters key below the service's key; `None` when that is too long.
    #[must_use]
    pub fn parameters_of(service: &[u16]) -> Option<Self> {
        let length = service.len() + BELOW.len();
        let mut path = Self::EMPTY;
        let target = path.units.get_mut(..length)?;
        let text = service
            .iter()
            .copied()
            .chain(BELOW.iter().map(|&byte| u16::from(byte)));
        for (unit, from) in target.iter_mut().zip(text) {
            *unit = from;
        }
        path.length = length;
        Some(path)
    }

    /// The path, without terminator.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        self.units.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec, vec::Vec};

    #[test]
    fn the_key_is_below_the_service() {
        let service: Vec<u16> = "\\Registry\\Machine\\x".encode_utf16().collect();
        let path = KeyPath::parameters_of(&service).expect("short");
        assert_eq!(
            String::from_utf16_lossy(path.units()),
            "\\Registry\\Machine\\x\\Parameters"
        );
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(KeyPath::parameters_of(&vec![65; CAPACITY - BELOW.len()]).is_some());
        assert!(KeyPath::parameters_of(&vec![65; CAPACITY - BELOW.len() + 1]).is_none());
        assert!(KeyPath::EMPTY.units().is_empty());
    }
}
