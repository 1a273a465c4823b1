// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, not(windows)))]
extern crate std;

pub mod cache;
pub mod console;
pub mod debug;
pub mod enumerate;
pub mod evtchn;
pub mod facade;
#[cfg(windows)]
mod ffi;
pub mod gnttab;
pub mod interfaces;
pub mod pdo;
pub mod range_set;
pub mod root;
pub mod shared_info;
pub mod status;
pub mod store;
pub mod suspend;
#[cfg(any(test, not(windows)))]
pub mod testing;
