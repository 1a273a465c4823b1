// SPDX-License-Identifier: BSD-2-Clause
//! Waits.

use crate::mem::Ptr;
use crate::status::NtStatus;

/// How long to wait, in 100 ns units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// For ever.
    Never,
    /// Do not block.
    Poll,
    /// This long from now.
    Relative(u64),
    /// Until this system time.
    Absolute(u64),
}

/// Waits for one dispatcher object; 0 or `TIMEOUT`. Up to `APC_LEVEL` unless polling.
pub fn single(_object: Ptr, _timeout: Timeout) -> NtStatus {
    unimplemented!()
}

/// Blocks the calling thread for `units` of 100 ns.
pub fn sleep(_units: u64) {
    unimplemented!()
}

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
