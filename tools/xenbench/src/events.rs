// SPDX-License-Identifier: BSD-2-Clause
//! Events: from the call of the bus's interrupt routine to a channel's callback, and to the poll of a future that waits.
//!
//! The domain sends them to itself, so nobody else runs in between. The future waits at DISPATCH_LEVEL in the executor's DPC; the
//! ringer sends from a thread at PASSIVE_LEVEL, so that the DPC has to be requested and dispatched, as for any event.

use core::sync::atomic::Ordering;

use kexec::nt::Arc;
use kexec::{Result, Status, info};
use xenbus_interface::client::Channel;

use crate::bench::{Bench, SELF};

/// Prints the least of the ticks that passes took, and the pool blocks that all of them allocated.
fn report(name: &str, size: usize, ticks: u64, allocations: u64) {
    info!(
        "RESULT bench.{name} size={size} status=ok operations=1 instructions={ticks} allocations={allocations}"
    );
}

/// Pool blocks so far.
fn allocations(bench: &Bench) -> u64 {
    bench.probe.allocations.map_or(0, |count| count())
}

/// To the callback; `size` channels are open beside it.
pub(crate) async fn callback(bench: &Bench, size: usize) -> Result {
    let routine_called = bench.routine_called.ok_or(Status::NOT_SUPPORTED)?;
    let sender = bench.evtchn.inter_domain(SELF, bench.bell.port())?;
    let (mut least, before) = (u64::MAX, allocations(bench));
    for _ in 0..bench.passes() {
        let (calls, _) = bench.bell.called();
        // The event is delivered before the hypercall returns.
        sender.send();
        let (now, at) = bench.bell.called();
        if now != calls.wrapping_add(1) {
            return Err(Status::DATA_ERROR);
        }
        least = least.min(at.wrapping_sub(routine_called()));
    }
    report("event-callback", size, least, allocations(bench) - before);
    Ok(())
}

/// To the poll of a waiting future; `size` says what there is beside it, as `name` does.
pub(crate) async fn poll(bench: &Bench, name: &str, size: usize) -> Result {
    let routine_called = bench.routine_called.ok_or(Status::NOT_SUPPORTED)?;
    let channel = bench.evtchn.unbound(SELF)?;
    channel.unmask();
    bench.port.store(channel.port(), Ordering::Relaxed);
    // The first makes the ringer bind.
    bench.ring.notify();
    channel.wait().await?;
    let (mut least, before) = (u64::MAX, allocations(bench));
    for _ in 0..bench.passes() {
        bench.ring.notify();
        channel.wait().await?;
        least = least.min((bench.probe.clock)().wrapping_sub(routine_called()));
    }
    let allocated = allocations(bench) - before;
    report(name, size, least, allocated);
    Ok(())
}

/// Sends an event to [`Bench::port`] whenever it is asked to; runs at PASSIVE_LEVEL.
pub(crate) async fn ringer(bench: Arc<Bench>) {
    let mut bound: Option<(u32, Channel<'_>)> = None;
    loop {
        bench.ring.notified().await;
        let port = bench.port.load(Ordering::Relaxed);
        if bound.as_ref().is_none_or(|(known, _)| *known != port) {
            // The old one goes first.
            bound = None;
            match bench.evtchn.inter_domain(SELF, port) {
                Ok(channel) => bound = Some((port, channel)),
                Err(status) => info!("RESULT bench.ringer status={status}"),
            }
        }
        if let Some((_, channel)) = &bound {
            channel.send();
        }
    }
}
