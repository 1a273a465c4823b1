// SPDX-License-Identifier: BSD-2-Clause
//! Hypercalls as counted outside the guest, by a plugin of QEMU.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Bytes of a hypercall page per hypercall.
const ENTRY: u64 = 32;
const PAGE: u64 = 4096;

/// How often each `VMMCALL` instruction was executed, by its virtual address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hypercalls {
    by_address: BTreeMap<u64, u64>,
}

impl Hypercalls {
    /// Reads the plugin's table.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let entry = |line: &str| {
            let (address, count) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, count.parse().ok()?))
        };
        let by_address = text
            .lines()
            .map(|line| {
                entry(line).ok_or_else(|| Error::infra(format!("the plugin wrote {line:?}")))
            })
            .collect::<Result<_>>()?;
        Ok(Self { by_address })
    }

    /// All of them, from anywhere.
    pub fn total(&self) -> u64 {
        self.by_address.values().sum()
    }

    /// The addresses and how often each was executed.
    pub fn by_address(&self) -> &BTreeMap<u64, u64> {
        &self.by_address
    }

    /// Those made through the hypercall page at virtual address `page`, by the hypercall's number.
    pub fn through_page(&self, page: u64) -> BTreeMap<u32, u64> {
        let mut by_number = BTreeMap::new();
        for (address, count) in self.by_address.range(page..page.saturating_add(PAGE)) {
            let number = u32::try_from((address - page) / ENTRY).unwrap_or(u32::MAX);
            *by_number.entry(number).or_default() += count;
        }
        by_number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_page_become_numbers() {
        let table = Hypercalls::parse("1000 9\n2225 7\n23a5 1\n3005 4\n").expect("table");
        assert_eq!(table.total(), 21);
        assert_eq!(
            table.through_page(0x2000),
            BTreeMap::from([(17, 7), (29, 1)])
        );
        assert!(Hypercalls::parse("what").is_err());
    }
}
