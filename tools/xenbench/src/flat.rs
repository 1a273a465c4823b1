// SPDX-License-Identifier: BSD-2-Clause
//! The cost of one operation beside many watches, channels or tasks: it must not depend on how many there are.

use core::future::pending;

use kexec::nt::{Arc, Vec};
use kexec::{JoinHandle, Result, task};
use xenbus_interface::client::{Channel, Watch};
use xenchild::measure::Meter;

use crate::bench::{Bench, KEY, TAG, report};
use crate::events;

/// A node that nobody writes to.
const QUIET: &str = "data/bench/quiet";

/// A write until its watch has fired, beside `size` watches of another node.
pub(crate) async fn watches(bench: &Bench, size: usize) -> Result {
    let mut others = Vec::<Watch<'_>>::new(TAG);
    for _ in 0..size {
        others.try_push(bench.store.watch(QUIET)?)?;
    }
    for watch in others.iter() {
        // Comes with the registration, or says why there is none.
        watch.changed().await?;
    }
    let watch = bench.store.watch(KEY)?;
    watch.changed().await?;
    let mut meter = Meter::new(bench.probe);
    for _ in 0..bench.passes() {
        meter.begin();
        bench.store.write(KEY, "value").await?;
        watch.changed().await?;
        meter.end();
    }
    report("watch", size, 1, &meter);
    Ok(())
}

/// An event beside `size` open channels.
pub(crate) async fn channels(bench: &Bench, size: usize) -> Result {
    let mut others = Vec::<Channel<'_>>::new(TAG);
    for _ in 0..size {
        others.try_push(bench.evtchn.unbound(0)?)?;
    }
    events::callback(bench, size).await?;
    events::poll(bench, "event-poll-channels", size).await
}

/// An event's way to a task beside `size` that wait.
pub(crate) async fn tasks(bench: &Arc<Bench>, size: usize) -> Result {
    // Dropping a handle ends its task.
    let mut others = Vec::<JoinHandle<()>>::new(TAG);
    for _ in 0..size {
        others.try_push(bench.executor.spawn(task!("other"), pending())?)?;
    }
    events::poll(bench, "event-poll-tasks", size).await
}
