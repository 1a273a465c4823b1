// SPDX-License-Identifier: BSD-2-Clause
//! Executors: the platform-free [`Core`], and its two NT back ends.

mod common;
mod core_exec;
#[cfg(all(test, not(any(loom, shuttle))))]
mod cost_tests;
mod dpc;
#[cfg(all(test, shuttle))]
mod explore;
#[cfg(all(
    test,
    not(any(loom, shuttle)),
    target_os = "linux",
    target_arch = "x86_64"
))]
mod interrupted_tests;
mod live;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, loom))]
mod loom_timers;
#[cfg(all(test, any(loom, shuttle)))]
#[cfg_attr(shuttle, expect(dead_code, reason = "the machine is the models'"))]
mod model;
mod outcome;
mod passive;
mod queue;
#[cfg(all(test, not(any(loom, shuttle))))]
mod queue_tests;
mod spawn;
mod support;
#[cfg(all(test, not(any(loom, shuttle))))]
mod table_tests;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

pub use common::Executor;
pub use core_exec::{Core, layout};
pub use dpc::{DpcExecutor, DpcPlatform};
pub use outcome::{Budget, DriveError, Driven, Outcome, TaskState};
pub use passive::{PassiveExecutor, PassivePlatform};

pub(crate) use core_exec::CoreHead;

use crate::Platform;
