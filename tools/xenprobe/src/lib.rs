// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

mod cache;
mod console;
mod debug;
mod evtchn;
mod faults;
#[cfg(windows)]
mod ffi;
mod gnttab;
#[cfg(windows)]
mod ports;
mod probe;
mod range_set;
pub mod run;
mod shared_info;
mod store;
mod suspend;
mod unplug;
