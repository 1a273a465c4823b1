// SPDX-License-Identifier: BSD-2-Clause
//! What the store must hold: of every key the version of its value, whether it exists, and its permissions.
//!
//! A key belongs to one worker, which alone changes it, one operation after the other. Others may read it, and compare with what
//! the model said before and after: a change is marked as pending while its request is on the way.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// What a key's permissions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permissions {
    /// Those of its parent: never set since it was made.
    #[default]
    Inherited,
    /// The owner alone.
    Nobody,
    /// Everyone may read.
    Readable,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Counts its changes; names the value.
    pub version: u32,
    /// There is such a node.
    pub present: bool,
    /// Its permissions.
    pub permissions: Permissions,
    /// A change is on the way.
    pub(crate) pending: bool,
}

const PRESENT: u32 = 1;
const PENDING: u32 = 2;
const NOBODY: u32 = 4;
const READABLE: u32 = 8;
const SHIFT: u32 = 4;

/// Values wrap there; no run is so long.
pub(crate) const LAST_VERSION: u32 = u32::MAX >> SHIFT;

impl Key {
    pub(crate) fn load(cell: &AtomicU32) -> Self {
        let word = cell.load(Ordering::Acquire);
        Self {
            version: word >> SHIFT,
            present: word & PRESENT != 0,
            permissions: match word & (NOBODY | READABLE) {
                NOBODY => Permissions::Nobody,
                READABLE => Permissions::Readable,
                _ => Permissions::Inherited,
            },
            pending: word & PENDING != 0,
        }
    }

    pub(crate) fn store(self, cell: &AtomicU32) {
        let mut word = self.version << SHIFT;
        if self.present {
            word |= PRESENT;
        }
        if self.pending {
            word |= PENDING;
        }
        word |= match self.permissions {
            Permissions::Inherited => 0,
            Permissions::Nobody => NOBODY,
            Permissions::Readable => READABLE,
        };
        cell.store(word, Ordering::Release);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match (self.present, self.permissions) {
            (false, _) => '-',
            (true, Permissions::Inherited) => 'i',
            (true, Permissions::Nobody) => 'n',
            (true, Permissions::Readable) => 'r',
        };
        write!(f, "{}{letter}", self.version)
    }
}

impl core::str::FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, letter) = text.char_indices().next_back().ok_or(())?;
        let version = text[..at].parse().map_err(|_| ())?;
        let (present, permissions) = match letter {
            '-' => (false, Permissions::Inherited),
            'i' => (true, Permissions::Inherited),
            'n' => (true, Permissions::Nobody),
            'r' => (true, Permissions::Readable),
            _ => return Err(()),
        };
        Ok(Self {
            version,
            present,
            permissions,
            pending: false,
        })
    }
}

/// The keys of a model line's `keys=`; an element that is none is `None`.
pub fn keys(list: &str) -> impl Iterator<Item = Option<Key>> {
    list.split(',')
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn a_key_survives_its_cell_and_its_text() {
        let cell = AtomicU32::new(0);
        for permissions in [
            Permissions::Inherited,
            Permissions::Nobody,
            Permissions::Readable,
        ] {
            for version in [0, 1, LAST_VERSION] {
                let key = Key {
                    version,
                    present: true,
                    permissions,
                    pending: false,
                };
                key.store(&cell);
                assert_eq!(Key::load(&cell), key);
                assert_eq!(key.to_string().parse(), Ok(key));
            }
        }
        let gone = Key {
            version: 7,
            ..Key::default()
        };
        assert_eq!(gone.to_string(), "7-");
        assert_eq!("7-".parse(), Ok(gone));
    }

    #[test]
    fn a_list_says_which_of_its_elements_are_none() {
        let all: Vec<bool> = keys("3r,x,0-,").map(|key| key.is_some()).collect();
        assert_eq!(all, [true, false, true]);
        assert!("3".parse::<Key>().is_err() && "r".parse::<Key>().is_err());
    }
}
