// SPDX-License-Identifier: BSD-2-Clause
//! `mm`: physical pages, mappings, MDLs.

use crate::export::Export;

/// The tables of this folder.
pub static TABLES: &[&[Export]] = &[];

/// A physical range of `len` bytes (a power of two, naturally aligned) that holds neither RAM nor a device:
/// for the BAR of a fake PCI function. Each call returns another range.
pub fn unused_physical_range(_len: u64) -> u64 {
    unimplemented!()
}
