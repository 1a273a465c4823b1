// SPDX-License-Identifier: BSD-2-Clause
//! A run: what all workers share, and the two parts of each.
//!
//! ```text
//!   place: parses the line, gets memory
//!     -> setup(worker) of all   makes keys and accounts
//!     -> Run::begin
//!     -> work(worker) of all    counts, checks
//!     -> Run::report            prints
//! ```

use core::fmt;
use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::client::{Client, Counters, Error, Place, Result};
use crate::histogram::{BUCKETS, Histogram};
use crate::random::Random;
use crate::spec::{Role, Workload};
use crate::{accounts, hostile, keys, watches};

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A removal.
    Remove,
    /// A list of children.
    Directory,
    /// Permissions set.
    Permissions,
    /// A transaction, from its start to the commit that succeeded.
    Transaction,
    /// A write until all its watches have fired.
    Watch,
}

impl Kind {
    /// All of them; those of a mix first.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::Remove,
        Self::Directory,
        Self::Permissions,
        Self::Transaction,
        Self::Watch,
    ];

    /// Its name in a mix and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Directory => "directory",
            Self::Permissions => "permissions",
            Self::Transaction => "transaction",
            Self::Watch => "watch",
        }
    }
}

/// Failed checks that are printed; the others are counted.
const PRINTED: u32 = 8;

/// Looks at the counters of which the cheapest says what one takes.
const LOOKS: u32 = 16;

/// What is counted, but for durations.
#[derive(Debug)]
pub struct Tally {
    pub(crate) operations: AtomicU32,
    pub(crate) requests: AtomicU32,
    pub(crate) retries: AtomicU32,
    pub(crate) wrong: AtomicU32,
    pub(crate) errors: [AtomicU32; Error::COUNT],
    /// Least and most ticks of each kind.
    pub(crate) least: [AtomicU64; Kind::ALL.len()],
    pub(crate) most: [AtomicU64; Kind::ALL.len()],
    /// Least busy ticks of each kind.
    pub(crate) busy: [AtomicU64; Kind::ALL.len()],
    pub(crate) begin: AtomicU64,
    /// Busy ticks that one look at the counters takes, and how many the workers had.
    pub(crate) look: AtomicU64,
    pub(crate) looks: AtomicU32,
    /// Ticks of the clock that they took.
    pub(crate) looking: AtomicU64,
    stopped: AtomicBool,
}

impl Tally {
    /// Nothing counted.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            operations: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            wrong: AtomicU32::new(0),
            errors: [const { AtomicU32::new(0) }; _],
            least: [const { AtomicU64::new(u64::MAX) }; _],
            most: [const { AtomicU64::new(0) }; _],
            busy: [const { AtomicU64::new(u64::MAX) }; _],
            begin: AtomicU64::new(0),
            look: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            looking: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Ends all workers after the operation that they are at. Any IRQL.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

/// What all workers of a run share, in their place's memory.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) tally: &'a Tally,
    cells: &'a [AtomicU32],
    buckets: &'a [AtomicU32],
}

impl<'a> Run<'a> {
    /// Numbers that the model of `workload` takes.
    #[must_use]
    pub fn cells(workload: &Workload) -> usize {
        workload.workers() as usize * workload.keys as usize
    }

    /// Numbers that the durations take.
    pub const BUCKETS: usize = Kind::ALL.len() * BUCKETS;

    /// A run in memory that is zero: [`Self::cells`] numbers for the model, [`Self::BUCKETS`] for durations. `None` if that is
    /// not what there is.
    #[must_use]
    pub fn new(
        workload: &'a Workload,
        tally: &'a Tally,
        cells: &'a [AtomicU32],
        buckets: &'a [AtomicU32],
    ) -> Option<Self> {
        (cells.len() == Self::cells(workload) && buckets.len() == Self::BUCKETS).then_some(Self {
            workload,
            tally,
            cells,
            buckets,
        })
    }

    /// A key's state; `None` for a key that there is not.
    pub(crate) fn cell(&self, worker: u32, key: u32) -> Option<&'a AtomicU32> {
        let keys = self.workload.keys;
        let at = worker as usize * keys as usize + key as usize;
        (key < keys).then(|| self.cells.get(at)).flatten()
    }

    pub(crate) fn histogram(&self, kind: Kind) -> Histogram<'a> {
        let at = kind as usize * BUCKETS;
        Histogram(self.buckets.get(at..at + BUCKETS).unwrap_or_default())
    }

    /// Notes that a check has failed.
    pub fn wrong(&self, place: &impl Place, what: fmt::Arguments<'_>) {
        if self.tally.wrong.fetch_add(1, Ordering::Relaxed) < PRINTED {
            let id = self.workload.id;
            place.line(format_args!("RESULT stress.wrong id={id} what={what}"));
        }
    }

    /// True once a check has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.tally.wrong.load(Ordering::Relaxed) != 0
    }

    /// Counts what a request was refused with.
    pub(crate) fn refused(&self, error: Error) {
        if let Some(count) = self.tally.errors.get(error as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request and how it ended.
    pub(crate) async fn request<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        self.tally.requests.fetch_add(1, Ordering::Relaxed);
        let result = request.await;
        if let Err(error) = result {
            self.refused(error);
        }
        result
    }

    /// Begins the part that is counted.
    pub fn begin(&self, place: &impl Place) -> Counters {
        let look = || {
            let before = place.counters().busy?;
            Some(place.counters().busy?.wrapping_sub(before))
        };
        let least = (0..LOOKS).filter_map(|_| look()).min();
        self.tally.look.store(least.unwrap_or(0), Ordering::Relaxed);
        self.tally.requests.store(0, Ordering::Relaxed);
        let before = place.counters();
        self.tally.begin.store(place.now(), Ordering::Relaxed);
        before
    }

    /// Whether a worker that did `done` operations has done its part.
    pub(crate) fn is_over(&self, place: &impl Place, done: u32) -> bool {
        let workload = self.workload;
        if done >= workload.count.div_ceil(workload.workers())
            || self.has_failed()
            || self.tally.stopped.load(Ordering::Relaxed)
        {
            return true;
        }
        let limit = u64::from(workload.seconds) * place.ticks_per_second();
        let begin = self.tally.begin.load(Ordering::Relaxed);
        limit != 0 && place.now().wrapping_sub(begin) >= limit
    }
}

/// What one operation takes. A look at the counters is not free (in a guest a hypercall for each processor), so what looking takes is
/// known and taken off.
pub(crate) struct Watchman {
    begin: u64,
    /// When it was looked at the busy ticks, and what they were.
    looked: Option<(u64, u64)>,
}

impl Watchman {
    pub(crate) fn start(run: &Run<'_>, place: &impl Place) -> Self {
        // With several workers nobody knows whose the instructions are.
        let alone = run.workload.workers() == 1;
        let looked = alone.then(|| (place.now(), place.counters().busy));
        Self {
            looked: looked.and_then(|(now, busy)| Some((now, busy?))),
            begin: place.now(),
        }
    }

    pub(crate) fn end(self, run: &Run<'_>, place: &impl Place, kind: Kind) {
        let now = place.now();
        let ticks = now.wrapping_sub(self.begin);
        let tally = run.tally;
        if let Some((looked, before)) = self.looked {
            // From the middle of one look to that of the next.
            let busy = place.counters().busy.unwrap_or(before);
            let busy = busy
                .wrapping_sub(before)
                .saturating_sub(tally.look.load(Ordering::Relaxed));
            tally.busy[kind as usize].fetch_min(busy, Ordering::Relaxed);
            tally.looks.fetch_add(2, Ordering::Relaxed);
            let looking = place.now().wrapping_sub(looked).saturating_sub(ticks);
            tally.looking.fetch_add(looking, Ordering::Relaxed);
        }
        run.histogram(kind).record(ticks);
        tally.least[kind as usize].fetch_min(ticks, Ordering::Relaxed);
        tally.most[kind as usize].fetch_max(ticks, Ordering::Relaxed);
        tally.operations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a worker stopped early: a line has been printed.
pub(crate) struct Failed;

/// Makes what a worker needs. A failure is noted in the run.
pub async fn setup<C: Client, P: Place>(run: Run<'_>, place: &P, client: &C, worker: u32) {
    // The failure is in the tally.
    let _ = match run.workload.role(worker) {
        Role::Keys => keys::setup(run, place, client, worker).await,
        Role::Accounts => accounts::setup(run, place, client).await,
        Role::Watches => watches::setup(run, place, client, worker).await,
        Role::Hostile => Ok(()),
    };
}

/// Does a worker's part. A failure is noted in the run, and ends all workers soon.
pub async fn work<C: Client, P: Place>(run: Run<'_>, place: &P, client: &C, worker: u32) {
    let mut random = Random::new(run.workload.seed, worker);
    match run.workload.role(worker) {
        role @ (Role::Keys | Role::Accounts) => {
            let mut done = 0;
            while !run.is_over(place, done) {
                let step = match role {
                    Role::Keys => keys::step(run, place, client, worker, &mut random).await,
                    _ => accounts::step(run, place, client, &mut random).await,
                };
                if step.is_err() {
                    return;
                }
                done += 1;
            }
        }
        Role::Watches => {
            // The failure is in the tally.
            let _ = watches::work(run, place, client, worker).await;
        }
        Role::Hostile => {
            // The failure is in the tally.
            let _ = hostile::work(run, place, client, worker).await;
        }
    }
}
