// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![cfg_attr(target_os = "none", no_std)]
#![expect(
    unsafe_code,
    reason = "a kernel: machine access, and memory that C drivers own"
)]

extern crate alloc;

pub mod arch;
pub mod cm;
pub mod config;
pub mod ex;
pub mod export;
pub mod io;
pub mod ke;
pub mod ldr;
pub mod log;
pub mod mem;
pub mod mm;
pub mod ob;
pub mod pnp;
pub mod po;
pub mod ps;
pub mod rtl;
pub mod status;
pub mod sync;
pub mod verifier;
