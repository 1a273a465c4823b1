// SPDX-License-Identifier: BSD-2-Clause
//! The machine: what differs between the guest and a development host. Everything here works at any IRQL.

#[cfg(target_os = "none")]
mod hw;
#[cfg(target_os = "none")]
pub use hw::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::*;
