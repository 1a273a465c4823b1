// SPDX-License-Identifier: BSD-2-Clause
//! Store reads: one after the other, by many awaiting callers at once, and by a thread that blocks.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::{Arc, Vec};
use kexec::sync::Notify;
use kexec::{JoinHandle, Result, Status, task};
use xenchild::measure::Meter;

use crate::bench::{Bench, KEY, KEY_TEXT, TAG, report};

/// Callers that await a read each.
const CALLERS: usize = 64;
/// Reads of each caller in a pass.
const EACH: u32 = 16;
/// Reads one after the other in a pass.
const SEQUENCE: u32 = 64;

/// What the callers share.
struct Crowd {
    /// Sends each caller to its next reads.
    go: Vec<Notify>,
    /// Callers that still read.
    left: AtomicU32,
    failed: AtomicU32,
    done: Notify,
}

/// One read: what it takes, and what the cheapest of its passes took.
pub(crate) async fn one(bench: &Bench) -> Result {
    let mut meter = Meter::new(bench.probe);
    for _ in 0..bench.passes() {
        meter.begin();
        bench.store.read(KEY).await?;
        meter.end();
    }
    report("read", 1, 1, &meter);
    Ok(())
}

/// Reads one after the other.
pub(crate) async fn sequence(bench: &Bench) -> Result {
    let mut meter = Meter::new(bench.probe);
    for _ in 0..5 {
        meter.begin();
        for _ in 0..SEQUENCE {
            bench.store.read(KEY).await?;
        }
        meter.end();
    }
    report("reads", 1, SEQUENCE, &meter);
    Ok(())
}

/// Reads one after the other by a thread that waits for each in `StoreRead`.
pub(crate) async fn published(bench: &Arc<Bench>) -> Result {
    let own = bench.clone();
    let reads = async move {
        let mut meter = Meter::new(own.probe);
        for _ in 0..own.passes() {
            meter.begin();
            own.published.store().read(None, KEY_TEXT)?;
            meter.end();
        }
        Ok::<_, Status>(meter)
    };
    let meter = bench.thread.spawn(task!("reader"), reads)?.await??;
    report("vtable-read", 1, 1, &meter);
    Ok(())
}

/// Reads of many callers.
pub(crate) async fn crowd(bench: &Arc<Bench>) -> Result {
    let mut go = Vec::new(TAG);
    for _ in 0..CALLERS {
        go.try_push(Notify::new())?;
    }
    let crowd = Arc::try_new(
        TAG,
        Crowd {
            go,
            left: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            done: Notify::new(),
        },
    )?;
    // Dropping a handle ends its task.
    let mut callers = Vec::<JoinHandle<()>>::new(TAG);
    for number in 0..CALLERS {
        callers.try_push(caller(bench, &crowd, number)?)?;
    }
    let mut meter = Meter::new(bench.probe);
    for _ in 0..5 {
        crowd.left.store(CALLERS as u32, Ordering::Relaxed);
        meter.begin();
        for go in crowd.go.iter() {
            go.notify();
        }
        crowd.done.notified().await;
        meter.end();
        if crowd.failed.load(Ordering::Relaxed) != 0 {
            return Err(Status::DATA_ERROR);
        }
    }
    report("reads", CALLERS, CALLERS as u32 * EACH, &meter);
    Ok(())
}

fn caller(bench: &Arc<Bench>, crowd: &Arc<Crowd>, number: usize) -> Result<JoinHandle<()>> {
    let (own, crowd) = (bench.clone(), crowd.clone());
    let reads = async move {
        loop {
            crowd.go[number].notified().await;
            for _ in 0..EACH {
                if own.store.read(KEY).await.is_err() {
                    crowd.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            if crowd.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                crowd.done.notify();
            }
        }
    };
    Ok(bench.executor.spawn(task!("caller"), reads)?)
}
