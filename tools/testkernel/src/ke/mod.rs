// SPDX-License-Identifier: BSD-2-Clause
//! `ke`: IRQL, locks, DPCs, timers, threads' scheduling, waits, interrupts, bug checks.

pub mod event;
pub mod irql;
pub mod wait;

use crate::export::Export;

/// The tables of this folder.
pub static TABLES: &[&[Export]] = &[irql::EXPORTS, event::EXPORTS, wait::EXPORTS];
