// SPDX-License-Identifier: BSD-2-Clause
//! What every case uses: the interfaces, the counters, and how a case reports.

use core::ffi::CStr;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::AtomicU32;

use kexec::nt::{Arc, Box, Tag};
use kexec::sync::Notify;
use kexec::{DpcExecutor, PassiveExecutor, Result, info};
use xenbus_interface::client::published::Wired;
use xenbus_interface::client::{Evtchn, Gnttab, Store};
use xenchild::measure::{Cost, Counter, Meter, Probe};

use crate::ffi::Bell;

pub(crate) const TAG: Tag = Tag(*b"XBch");
/// The domain itself, to Xen.
pub(crate) const SELF: u16 = 0x7FF0;
/// The key that is read and written.
pub(crate) const KEY: &str = "data/bench/key";
pub(crate) const KEY_TEXT: &CStr = c"data/bench/key";

/// The interfaces and what they are measured with.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) published: Wired,
    pub(crate) evtchn: Evtchn,
    pub(crate) gnttab: Gnttab,
    pub(crate) bell: Bell,
    pub(crate) probe: Probe,
    /// The clock at the last call of an interrupt routine; `None` where nobody says so.
    pub(crate) routine_called: Option<Counter>,
    /// Where measured tasks run.
    pub(crate) executor: Arc<DpcExecutor>,
    /// For what waits.
    pub(crate) thread: Arc<PassiveExecutor>,
    /// Few passes, small numbers.
    pub(crate) short: bool,
    /// Asks the ringer for an event on [`Self::port`].
    pub(crate) ring: Notify,
    pub(crate) port: AtomicU32,
}

impl Bench {
    /// Passes of a case of which the cheapest counts.
    pub(crate) fn passes(&self) -> u32 {
        if self.short { 5 } else { 20 }
    }

    /// Runs a case and says why it failed, if it did. Its future is made in a block of its own.
    pub(crate) async fn case<F: Future<Output = Result>>(
        &self,
        name: &str,
        size: usize,
        make: impl FnOnce() -> F,
    ) {
        let result = match boxed(make) {
            Ok(case) => case.await,
            Err(status) => Err(status),
        };
        if let Err(status) = result {
            info!("RESULT bench.{name} size={size} status={status}");
        }
    }
}

#[inline(never)]
fn boxed<F>(make: impl FnOnce() -> F) -> Result<Pin<Box<F>>> {
    Box::try_pin(TAG, make())
}

/// Prints the cheapest pass, which did its operation `operations` times.
pub(crate) fn report(name: &str, size: usize, operations: u32, meter: &Meter) {
    let (Some(cost), passes) = meter.best() else {
        info!("RESULT bench.{name} size={size} status=unmeasured");
        return;
    };
    let Cost {
        instructions,
        elapsed,
        hypercalls,
        sends,
        allocations,
    } = cost;
    info!(
        "RESULT bench.{name} size={size} status=ok operations={operations} instructions={instructions} elapsed={elapsed} hypercalls={hypercalls} sends={sends} allocations={allocations} passes={passes}"
    );
}
