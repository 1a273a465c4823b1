// SPDX-License-Identifier: BSD-2-Clause
//! Safe NT primitives, one implementation over [`sys`]: the only module that names `wdk-sys`.

pub mod cpu;

mod contiguous;
mod cpu_change;
mod crash;
mod dpc;
mod event;
mod high;
mod interrupt;
pub mod log;
mod memory;
mod mutex;
mod panic;
mod pool;
mod queued;
mod registry;
mod rundown;
mod spin;
pub mod sys;
mod thread;
pub mod time;
pub mod wdm;
mod wstr;

pub use crate::wstr;
pub use contiguous::Contiguous;
pub use cpu_change::{CpuChange, CpuChanges};
pub use crash::CrashCallback;
pub use dpc::{Dpc, Timer};
pub use event::{Event, EventKind, TimedOut};
pub use high::{HighGuard, HighLock};
pub use interrupt::{Interrupt, InterruptConfig, InterruptGuard};
pub use log::RateLimit;
pub use memory::{Cache, IoMapping, PAGE_SIZE, Pages, Shared};
pub use mutex::{Mutex, MutexGuard};
pub use panic::BUGCHECK_PANIC;
pub use pool::{Arc, Box, IntoIter, Link, String, Tag, Vec, WString};
pub use queued::QueuedSpinLock;
pub use registry::Key;
pub use rundown::{Rundown, RundownGuard};
pub use spin::{SpinGuard, SpinLock};
pub use thread::{Thread, WorkItem};
pub use wdm::DeviceRef;
pub use wstr::{WStr, encode as encode_wide};

pub(crate) use dpc::RawTimerDpc;
pub(crate) use event::RawEvent;
pub(crate) use pool::{allocate, release};
pub(crate) use thread::RawWorkItem;

use crate::{Duration, Passive};

/// Waits for about a millisecond.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub(crate) fn pause(level: Passive) {
    sys::pause(level);
}

/// Waits for `span` in this thread.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn delay(level: Passive, span: Duration) {
    let event = core::pin::pin!(RawEvent::uninit());
    event::init_on_stack(event.as_ref());
    let _ = event.wait(level.into(), Some(span));
}

/// Waits until every DPC queued before the call has run: before an image whose DPCs free themselves is unloaded.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn flush_dpcs(_level: Passive) {
    event::flush_dpcs();
}
