// SPDX-License-Identifier: BSD-2-Clause
//! Grants: pages that other domains may use, and pages of theirs.
//!
//! | module | what |
//! |---|---|
//! | [`host`] | the seam, and the entry that is shared with Xen |
//! | [`table`] | frames, free numbers, promises |
//! | [`cache`] | a client's grants: permit, revoke, waiting |
//! | `foreign` | mapping other domains' pages |
//!
//! A grant needs no hypercall: permit and revoke are a few accesses to the table. [`Gnttab`] is shared; a [`Cache`] belongs to
//! one client and must be dropped before the bus stops. No caller's lock is taken: the lock routines that the published interface
//! asks for have nothing to guard here.

pub mod cache;
mod foreign;
pub mod host;
pub mod table;
#[cfg(test)]
mod tests;

pub use cache::{Cache, Grant};
pub use host::GrantHost;
pub use table::Gnttab;
