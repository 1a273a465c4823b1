// SPDX-License-Identifier: BSD-2-Clause
//! `ps`: system threads, notifications and the handle table.

pub mod handles;
#[cfg(target_os = "none")]
pub mod notify;
#[cfg(target_os = "none")]
pub mod thread;

#[cfg(not(target_os = "none"))]
#[path = "host.rs"]
pub mod thread;

use crate::export::Export;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[thread::EXPORTS, notify::EXPORTS];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
pub static TABLES: &[&[Export]] = &[];
