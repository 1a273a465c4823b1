// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

mod bench;
mod events;
mod ffi;
mod flat;
mod grants;
mod reads;
pub mod run;
