// SPDX-License-Identifier: BSD-2-Clause
//! `ke`: IRQL, locks, DPCs, timers, threads' scheduling, waits, interrupts, bug checks.

pub mod irql;

#[cfg(target_os = "none")]
pub mod bugcheck;
#[cfg(target_os = "none")]
pub mod dispatch;
#[cfg(target_os = "none")]
pub mod dpc;
#[cfg(target_os = "none")]
pub mod event;
#[cfg(target_os = "none")]
pub mod fault;
#[cfg(target_os = "none")]
pub mod init;
#[cfg(target_os = "none")]
pub mod interrupt;
#[cfg(target_os = "none")]
pub mod mutex;
#[cfg(target_os = "none")]
pub mod processor;
#[cfg(target_os = "none")]
pub mod sched;
#[cfg(target_os = "none")]
pub mod spinlock;
#[cfg(target_os = "none")]
pub mod testing;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod wait;
#[cfg(target_os = "none")]
pub mod watchdog;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::{event, wait};

use crate::export::Export;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[
    irql::EXPORTS,
    event::EXPORTS,
    wait::EXPORTS,
    mutex::EXPORTS,
    timer::EXPORTS,
    dpc::EXPORTS,
    interrupt::EXPORTS,
    spinlock::EXPORTS,
    processor::EXPORTS,
    testing::EXPORTS,
    bugcheck::EXPORTS,
];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
pub static TABLES: &[&[Export]] = &[irql::EXPORTS];
