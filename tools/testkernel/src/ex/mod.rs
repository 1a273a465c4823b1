// SPDX-License-Identifier: BSD-2-Clause
//! `ex`: pool, work queues, rundown protection, callbacks.

#[cfg(target_os = "none")]
pub mod callback;
pub mod pool;
#[cfg(target_os = "none")]
mod rundown;
pub mod work;

use crate::export::Export;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[pool::EXPORTS, work::EXPORTS, rundown::EXPORTS, callback::EXPORTS];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
pub static TABLES: &[&[Export]] = &[pool::EXPORTS];
