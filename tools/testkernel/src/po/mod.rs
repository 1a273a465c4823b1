// SPDX-License-Identifier: BSD-2-Clause
//! `po`.

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
