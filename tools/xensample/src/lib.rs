// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(windows)]
mod ffi;
#[cfg(windows)]
mod published;
mod resume;
pub mod sample;
