// SPDX-License-Identifier: BSD-2-Clause
//! The edge of xen.sys: entry points, exports, instructions.
//!
//! [`state`] holds what the loaded image owns; [`entry`] fills it once, at PASSIVE_LEVEL, before any
//! importer runs; [`exports`] and [`services`] read it at any IRQL.
#![expect(unsafe_code, reason = "exports, instructions and ports")]

mod cpu;
mod crash;
mod entry;
mod exports;
mod nt;
mod services;
mod state;
mod watch;
