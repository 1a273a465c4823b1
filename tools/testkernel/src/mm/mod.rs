// SPDX-License-Identifier: BSD-2-Clause
//! `mm`: the kernel's heap, physical pages, mappings, MDLs.

#[cfg(target_os = "none")]
pub mod heap;
#[cfg(target_os = "none")]
mod io;
#[cfg(target_os = "none")]
pub mod map;
#[cfg(target_os = "none")]
mod mdl;
pub mod phys;
#[cfg(target_os = "none")]
mod query;

use crate::export::Export;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[io::EXPORTS, mdl::EXPORTS, query::EXPORTS];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
pub static TABLES: &[&[Export]] = &[];

/// Page size.
pub const PAGE: usize = 4096;

pub use phys::unused_physical_range;

/// What `driver` has mapped or taken and not given back.
#[cfg(target_os = "none")]
pub(crate) fn left_by(driver: &str) -> Option<alloc::string::String> {
    io::left_by(driver).or_else(|| mdl::left_by(driver))
}

/// A mapped MDL in the range.
#[cfg(target_os = "none")]
pub(crate) fn mdl_mapped_in(start: crate::mem::Ptr, len: usize) -> Option<crate::mem::Ptr> {
    mdl::mapped_in(start, len)
}
