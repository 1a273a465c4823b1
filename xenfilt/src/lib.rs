// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod filter;
pub mod ids;
pub mod params;
pub mod pnp;

#[cfg(any(windows, test))]
mod ffi;
