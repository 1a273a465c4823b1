// SPDX-License-Identifier: BSD-2-Clause
//! `ex`: pool, work queues, rundown protection, callbacks.

#[cfg(target_os = "none")]
pub mod callback;
#[cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "leaks are looked for by the kernel only")
)]
pub mod pool;
#[cfg(target_os = "none")]
mod rundown;
pub mod work;

use crate::export::Export;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[
    pool::EXPORTS,
    work::EXPORTS,
    rundown::EXPORTS,
    callback::EXPORTS,
];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
pub static TABLES: &[&[Export]] = &[pool::EXPORTS];
