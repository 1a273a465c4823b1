// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cache;
mod closure;
mod command;
mod count;
mod cpio;
mod dom0;
mod error;
mod guest;
mod helper;
mod initramfs;
mod linux;
mod log;
mod packages;
pub mod payload;
mod plain;
mod qemu;
mod qmp;
mod session;
mod snapshot;
mod trace;

pub use cache::{Cache, Lock, Progress};
pub use count::Hypercalls;
pub use dom0::{Job, Output};
pub use error::{Error, Kind, Result};
pub use guest::GuestConfig;
pub use log::{GuestLine, XEN_LINE};
pub use packages::Packages;
pub use payload::{Payload, pack};
pub use plain::plain;
pub use session::{Rig, RigConfig, Shutdown, StoreLoad, StoreTest, prepare, retry_once};
pub use trace::{Executed, Trace, TraceEvent, TraceKind};
