// SPDX-License-Identifier: BSD-2-Clause
//! A workload in a Linux process: in dom0 over xenstored's socket, in a guest over Linux's device.

use std::fmt;
use std::io::Write;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use workload::{Counters, Place, Run, Tally, Workload, setup, work};

use super::client::Store;
use crate::mux::Mux;
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

/// What a worker does.
#[derive(Clone, Copy)]
enum Part {
    Setup,
    Work,
}

/// A thread's connection, and its workers with theirs.
struct Hand<'a> {
    mux: &'a Mux,
    workers: Vec<(u32, Store)>,
}

impl<'a> Hand<'a> {
    /// The `own`th of `all`, which has every `all`th task.
    fn new(store: &'a Store, workload: &Workload, own: usize, all: usize) -> Result<Self> {
        let workers = (0..workload.workers())
            .filter(|worker| (worker / workload.outstanding) as usize % all == own)
            .map(|worker| Ok((worker, store.beside()?)));
        Ok(Self {
            mux: &store.mux,
            workers: workers.collect::<Result<_>>()?,
        })
    }

    /// Runs a part of all its workers at once to their end.
    fn run<W: Write + Send>(&self, part: Part, run: Run<'_>, desk: &Desk<W>) {
        let workers = self.workers.iter().map(async |(worker, store)| match part {
            Part::Setup => setup(run, desk, store, *worker).await,
            Part::Work => work(run, desk, store, *worker).await,
        });
        let mut workers: FuturesUnordered<_> = workers.collect();
        self.mux
            .run(async { while workers.next().await.is_some() {} });
    }
}

/// Runs `workload`, in an empty directory: its tasks are spread over threads, one for each of `stores`, the first of which is this one.
///
/// # Errors
/// A connection broke, or a check failed; the lines say which.
pub(crate) fn run<W: Write + Send>(
    stores: &[Store],
    workload: &Workload,
    desk: &Desk<W>,
) -> Result {
    let (mux, root) = (&stores[0].mux, workload.root());
    match mux.run(mux.call(Op::Rm, 0, &[root.as_bytes(), b"\0"])) {
        Err(refused) if !refused.is_missing() => return Err(refused.into()),
        _ => {}
    }
    let numbers = |count| -> Vec<_> { (0..count).map(|_| AtomicU32::new(0)).collect() };
    let (cells, buckets) = (numbers(Run::cells(workload)), numbers(Run::BUCKETS));
    let tally = Tally::new();
    let run = Run::new(workload, &tally, &cells, &buckets);
    let run = run.ok_or_else(|| Failure::new("the workload has no room"))?;
    let hands = stores.iter().enumerate();
    let hands = hands.map(|(own, store)| Hand::new(store, workload, own, stores.len()));
    let hands: Vec<Hand<'_>> = hands.collect::<Result<_>>()?;
    let all = |part| {
        thread::scope(|scope| {
            for hand in hands[1..].iter().filter(|hand| !hand.workers.is_empty()) {
                scope.spawn(move || hand.run(part, run, desk));
            }
            hands[0].run(part, run, desk);
        });
    };
    all(Part::Setup);
    let before = run.begin(desk);
    all(Part::Work);
    let good = run.report(desk, before);
    match stores.iter().find_map(|store| store.mux.broken()) {
        Some(why) => Err(Refused::Broken(why).into()),
        None if good => Ok(()),
        None => Err(Failure::new("a check failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_worker_belongs_to_one_thread_and_those_of_a_task_to_the_same() {
        let (near, _far) = UnixStream::pair().expect("pair");
        let store = Store::new(Mux::over(near).expect("mux"));
        for line in ["tasks=7 outstanding=3", "tasks=1", "tasks=2 outstanding=8"] {
            let workload: Workload = line.parse().expect("good");
            let mut seen = Vec::new();
            for own in 0..4 {
                let hand = Hand::new(&store, &workload, own, 4).expect("hand");
                let tasks = hand
                    .workers
                    .iter()
                    .map(|(worker, _)| worker / workload.outstanding);
                assert!(tasks.clone().all(|task| task as usize % 4 == own), "{line}");
                seen.extend(hand.workers.iter().map(|(worker, _)| *worker));
            }
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..workload.workers()), "{line}");
        }
    }
}
