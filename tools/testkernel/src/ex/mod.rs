// SPDX-License-Identifier: BSD-2-Clause
//! `ex`: pool, work queues, rundown protection, fast mutexes, lists, callbacks.

pub mod pool;
pub mod work;

use crate::export::Export;

/// The tables of this folder.
pub static TABLES: &[&[Export]] = &[pool::EXPORTS];
