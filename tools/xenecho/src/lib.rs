// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

mod echo;
mod ring;
pub mod run;

#[cfg(windows)]
xenchild::entry!(run::Running);
