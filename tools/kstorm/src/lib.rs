// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

pub mod fairness;
#[cfg(windows)]
mod ffi;
pub mod figures;
pub mod machine;
pub mod storm;
pub mod unload;
