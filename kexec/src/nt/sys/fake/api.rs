// SPDX-License-Identifier: BSD-2-Clause
//! The functions of the fake kernel, under the names of the real ones.

pub use super::dpc::*;
pub use super::io::*;
pub use super::locks::*;
pub use super::mm::*;
pub use super::pool::*;
pub use super::registry::api::*;
pub use super::thread::*;
pub use super::wait::*;

pub(super) use super::dpc::{insert_dpc, run_dpcs};
