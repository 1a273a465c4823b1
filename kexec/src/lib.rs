// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(any(test, not(windows)))]
extern crate std;

mod atomic;
mod block;
pub mod exec;
pub mod irql;
pub mod nt;
pub mod platform;
pub mod probe;
#[cfg(doctest)]
mod rules;
pub mod status;
pub mod sync;
pub mod task;
mod time;
pub mod timer;

pub use block::{block_on, poll_on};
pub use exec::{DpcExecutor, DriveError, Driven, PassiveExecutor};
pub use irql::{Apc, Passive};
pub use platform::Platform;
pub use status::{Result, Status};
pub use task::{Aborted, Group, JoinHandle, SpawnError};
pub use time::{Duration, Instant};
pub use timer::{Elapsed, Sleep, Timers};

/// The features that this kexec was built with; the shipping drivers have none.
pub const FEATURES: &[&str] = if cfg!(feature = "trace") {
    &["trace"]
} else {
    &[]
};
