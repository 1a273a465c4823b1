// SPDX-License-Identifier: BSD-2-Clause
//! `rtl`: the run-time library.

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
