// SPDX-License-Identifier: BSD-2-Clause
//! A workload in a Linux process: in dom0 over xenstored's socket, in a guest over Linux's device.

use std::fmt;
use std::io::Write;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use workload::{Counters, Place, Run, Tally, Workload, setup, work};

use super::client::Store;
use crate::wire::{Op, Refused};
use crate::{Failure, Result};

/// Where a run prints, and its clock: nanoseconds of the monotonic one.
pub(crate) struct Desk<W> {
    name: &'static str,
    begin: Instant,
    out: Mutex<W>,
}

impl<W> Desk<W> {
    pub(crate) fn new(name: &'static str, out: W) -> Self {
        Self {
            name,
            begin: Instant::now(),
            out: Mutex::new(out),
        }
    }
}

impl<W: Write + Send> Place for Desk<W> {
    fn name(&self) -> &str {
        self.name
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn ticks_per_second(&self) -> u64 {
        1_000_000_000
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads the lines misses the last one if there is nobody to print to.
        let _ = writeln!(out, "{line}");
    }
}

/// Runs `workload`, in an empty directory.
///
/// # Errors
/// The connection broke, or a check failed; the lines say which.
pub(crate) fn run<W: Write + Send>(store: &Store, workload: &Workload, desk: &Desk<W>) -> Result {
    let (mux, root) = (&store.mux, workload.root());
    match mux.run(mux.call(Op::Rm, 0, &[root.as_bytes(), b"\0"])) {
        Err(refused) if !refused.is_missing() => return Err(refused.into()),
        _ => {}
    }
    let numbers = |count| -> Vec<_> { (0..count).map(|_| AtomicU32::new(0)).collect() };
    let (cells, buckets) = (numbers(Run::cells(workload)), numbers(Run::BUCKETS));
    let tally = Tally::new();
    let run = Run::new(workload, &tally, &cells, &buckets);
    let run = run.ok_or_else(|| Failure::new("the workload has no room"))?;
    let stores: Result<Vec<Store>> = (0..workload.workers()).map(|_| store.beside()).collect();
    let stores = stores?;
    let workers = || (0..).zip(&stores);
    mux.run(all(workers().map(|(n, own)| setup(run, desk, own, n))));
    let before = run.begin(desk);
    mux.run(all(workers().map(|(n, own)| work(run, desk, own, n))));
    let good = run.report(desk, before);
    match mux.broken() {
        Some(why) => Err(Refused::Broken(why).into()),
        None if good => Ok(()),
        None => Err(Failure::new("a check failed")),
    }
}

/// Runs all of them at once to their end.
async fn all(workers: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut workers: FuturesUnordered<_> = workers.collect();
    while workers.next().await.is_some() {}
}
