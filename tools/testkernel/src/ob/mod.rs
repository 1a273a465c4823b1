// SPDX-License-Identifier: BSD-2-Clause
//! `ob`.

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
