// SPDX-License-Identifier: BSD-2-Clause
//! `ps`: system threads and the handle table.

pub mod handles;
pub mod thread;

use crate::export::Export;

/// The tables of this folder.
pub static TABLES: &[&[Export]] = &[thread::EXPORTS];
