// SPDX-License-Identifier: BSD-2-Clause
//! The lines of a run.
//!
//! | line | when |
//! |---|---|
//! | `RESULT stress.wrong id= what=..` | a check failed; the first eight |
//! | `RESULT stress.error id= status= count=` | requests were refused so |
//! | `RESULT stress.op id= op= count= min= p50= p90= p99= max= [instructions=]` | operations of that kind, in ticks |
//! | `RESULT stress.model id= worker= keys=3r,0-,..` | what the store must hold: version and permissions of each key |
//! | `RESULT stress.run id= place= profile= status= workers= operations= requests= errors= retries= elapsed= rate=` | the whole of it |
//! | `RESULT stress.cost id= [busy=] [hypercalls=] [sends=] [interrupts=] [allocations=]` | what the counters grew by, where there are any |
//! | `RESULT stress.done id=` | nothing more comes |

use core::fmt;
use core::sync::atomic::Ordering;

use crate::client::{Counters, Error, Place};
use crate::model::Key;
use crate::run::{Kind, Run};

/// Keys that are printed in one line: a driver's lines have 256 bytes.
const IN_LINE: u32 = 24;

/// Keys of one worker, from one to before another.
struct Keys<'a>(&'a Run<'a>, u32, u32, u32);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(run, worker, from, to) = *self;
        for key in from..to {
            let state = run.cell(worker, key).map_or_else(Key::default, Key::load);
            write!(f, "{state},")?;
        }
        Ok(())
    }
}

/// ` name=number`, or nothing.
struct Word(&'static str, Option<u64>);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(number) => write!(f, " {}={number}", self.0),
            None => Ok(()),
        }
    }
}

impl Run<'_> {
    /// Prints what came of a run whose counted part began with `before`; whether all checks held.
    pub fn report(&self, place: &impl Place, before: Counters) -> bool {
        let (workload, tally) = (self.workload, self.tally);
        // Without what only looking took.
        let looking = tally.looking.load(Ordering::Relaxed);
        let elapsed = place
            .now()
            .wrapping_sub(tally.begin.load(Ordering::Relaxed))
            .saturating_sub(looking);
        let mut after = place.counters();
        // And one from `before` to here.
        let looks = u64::from(tally.looks.load(Ordering::Relaxed)) + 1;
        let looking = looks * tally.look.load(Ordering::Relaxed);
        after.busy = after.busy.map(|busy| busy.saturating_sub(looking));
        let id = workload.id;
        let load = |number: &core::sync::atomic::AtomicU32| number.load(Ordering::Relaxed);
        for (error, count) in Error::ALL.into_iter().zip(&tally.errors) {
            let count = load(count);
            if count != 0 {
                place.line(format_args!(
                    "RESULT stress.error id={id} status={error} count={count}"
                ));
            }
        }
        for kind in Kind::ALL {
            self.report_kind(place, kind);
        }
        for worker in 0..workload.workers() {
            let keys = workload.keys_of(worker);
            for from in (0..keys).step_by(IN_LINE as usize) {
                let list = Keys(self, worker, from, keys.min(from + IN_LINE));
                place.line(format_args!(
                    "RESULT stress.model id={id} worker={worker} first={from} keys={list}"
                ));
            }
        }
        let good = load(&tally.wrong) == 0;
        let operations = load(&tally.operations);
        let rate = u128::from(operations) * u128::from(place.ticks_per_second())
            / u128::from(elapsed.max(1));
        let errors = tally.errors.iter().map(load).sum::<u32>();
        let grown = |name, counter: fn(&Counters) -> Option<u64>| {
            let both = counter(&before).zip(counter(&after));
            Word(name, both.map(|(before, after)| after.wrapping_sub(before)))
        };
        place.line(format_args!(
            "RESULT stress.run id={id} place={} profile={} status={} tasks={} workers={} operations={operations} requests={} \
             errors={errors} retries={} elapsed={elapsed} rate={rate}",
            place.name(),
            workload.profile.name(),
            if good { "ok" } else { "failed" },
            workload.tasks,
            workload.workers(),
            load(&tally.requests),
            load(&tally.retries),
        ));
        if before != Counters::default() {
            place.line(format_args!(
                "RESULT stress.cost id={id}{}{}{}{}{}",
                grown("busy", |counters| counters.busy),
                grown("hypercalls", |counters| counters.hypercalls),
                grown("sends", |counters| counters.sends),
                grown("interrupts", |counters| counters.interrupts),
                grown("allocations", |counters| counters.allocations),
            ));
        }
        place.line(format_args!("RESULT stress.done id={id}"));
        good
    }

    fn report_kind(&self, place: &impl Place, kind: Kind) {
        let histogram = self.histogram(kind);
        let count = histogram.count();
        if count == 0 {
            return;
        }
        let at = kind as usize;
        let least = self.tally.least[at].load(Ordering::Relaxed);
        let most = self.tally.most[at].load(Ordering::Relaxed);
        let percentile = |percent| histogram.percentile(percent).min(most);
        let busy = self.tally.busy[at].load(Ordering::Relaxed);
        place.line(format_args!(
            "RESULT stress.op id={} op={} count={count} min={least} p50={} p90={} p99={} max={most}{}",
            self.workload.id,
            kind.name(),
            percentile(50),
            percentile(90),
            percentile(99),
            Word("instructions", (busy != u64::MAX).then_some(busy)),
        ));
    }
}
