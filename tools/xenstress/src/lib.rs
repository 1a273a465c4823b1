// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

mod asynchronous;
mod ffi;
mod job;
mod join;
mod place;
pub mod run;
mod vtable;
