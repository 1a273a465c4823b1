// SPDX-License-Identifier: BSD-2-Clause
//! What has been measured, by number of processors, place and workload, with all rounds; and the figures that come of it.

use std::collections::{BTreeMap, BTreeSet};

use rig::StoreTest;

use super::lines::{Counted, Kind, Run};
use crate::bench::results::Results;

/// The place that the others are compared with: dom0's client of the same xenstored, in the same run.
pub(super) const DOM0: &str = "dom0";

/// Kinds of operations, in the order of the tables.
pub(super) const KINDS: [&str; 7] = [
    "read",
    "write",
    "remove",
    "directory",
    "permissions",
    "transaction",
    "watch",
];

/// One figure of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// Operations a second.
    Rate,
    /// A percentile of the latency of one kind of operation.
    Percentile(&'static str, u32),
    /// Instructions of the guest for the cheapest operation of one kind, when nothing else is on its way.
    Instructions(&'static str),
    /// Counted in the whole run, for one operation.
    Each(Each),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Each {
    Busy,
    Hypercalls,
    Sends,
    Interrupts,
    Allocations,
}

impl Each {
    pub(super) const ALL: [Self; 5] = [
        Self::Busy,
        Self::Hypercalls,
        Self::Sends,
        Self::Interrupts,
        Self::Allocations,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Busy => "instructions",
            Self::Hypercalls => "hypercalls",
            Self::Sends => "sends",
            Self::Interrupts => "interrupts",
            Self::Allocations => "allocations",
        }
    }

    fn of(self, counted: &Counted) -> Option<u64> {
        match self {
            Self::Busy => counted.busy,
            Self::Hypercalls => counted.hypercalls,
            Self::Sends => counted.sends,
            Self::Interrupts => counted.interrupts,
            Self::Allocations => counted.allocations,
        }
    }
}

impl Metric {
    fn of(self, run: &Run) -> Option<f64> {
        let kind = |name: &str, get: fn(&Kind) -> Option<u64>| {
            run.kinds.get(name).and_then(get).map(|value| value as f64)
        };
        match self {
            Self::Rate => Some(run.rate()),
            Self::Percentile(name, 50) => kind(name, |kind| Some(kind.p50)),
            Self::Percentile(name, 90) => kind(name, |kind| Some(kind.p90)),
            Self::Percentile(name, _) => kind(name, |kind| Some(kind.p99)),
            Self::Instructions(name) => kind(name, |kind| kind.instructions),
            Self::Each(each) => run.each(each.of(&run.counted)),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Rate => "rate".to_owned(),
            Self::Percentile(name, percent) => format!("{name}-p{percent}"),
            Self::Instructions(name) => format!("{name}-instructions"),
            Self::Each(each) => each.name().to_owned(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Rate => "operations/s",
            Self::Percentile(..) => "ns",
            Self::Instructions(_) | Self::Each(Each::Busy) => "instructions",
            Self::Each(Each::Hypercalls) => "hypercalls",
            Self::Each(Each::Sends) => "events",
            Self::Each(Each::Interrupts) => "interrupts",
            Self::Each(Each::Allocations) => "pool blocks",
        }
    }
}

/// What one workload was measured at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) vcpus: u32,
    pub(super) workload: String,
    pub(super) place: String,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    runs: BTreeMap<Key, Vec<Run>>,
    /// Xen's own test of xenstored.
    pub(super) xen_test: Vec<StoreTest>,
}

impl Measured {
    /// Adds a round.
    pub(super) fn add(&mut self, key: Key, run: Run) {
        self.runs.entry(key).or_default().push(run);
    }

    /// What `metric` was in each round; empty where nobody counts it.
    pub(super) fn rounds(&self, key: &Key, metric: Metric) -> Vec<f64> {
        let runs = self.runs.get(key).into_iter().flatten();
        runs.filter_map(|run| metric.of(run)).collect()
    }

    /// The figure of all rounds: the least of instructions, else the median.
    pub(super) fn value(&self, key: &Key, metric: Metric) -> Option<f64> {
        let mut results = Results::default();
        push(&mut results, "", metric, &self.rounds(key, metric));
        results.rows().first().map(|row| row.value)
    }

    /// Runs at one place, or all of one workload.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.runs.keys()
    }

    pub(super) fn runs(&self, key: &Key) -> &[Run] {
        self.runs.get(key).map_or(&[], Vec::as_slice)
    }

    /// Numbers of processors, in order.
    pub(super) fn vcpus(&self) -> Vec<u32> {
        let all: BTreeSet<_> = self.keys().map(|key| key.vcpus).collect();
        all.into_iter().collect()
    }

    /// Places with anything at that number of processors: dom0 first.
    pub(super) fn places(&self, vcpus: u32) -> Vec<&str> {
        let at = self.keys().filter(|key| key.vcpus == vcpus);
        let all: BTreeSet<_> = at.map(|key| key.place.as_str()).collect();
        let (mut first, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|place| *place == DOM0);
        first.extend(others);
        first
    }

    /// The results form of all figures. Those of places other than dom0 are compared with dom0's.
    pub(super) fn results(&self) -> Results {
        let mut results = Results::default();
        let percentiles = KINDS
            .into_iter()
            .flat_map(|kind| [50, 90, 99].map(|percent| Metric::Percentile(kind, percent)));
        let metrics: Vec<_> = [Metric::Rate]
            .into_iter()
            .chain(percentiles)
            .chain(KINDS.map(Metric::Instructions))
            .chain(Each::ALL.map(Metric::Each))
            .collect();
        for key in self.keys() {
            for &metric in &metrics {
                let rounds = self.rounds(key, metric);
                if rounds.is_empty() {
                    continue;
                }
                push(&mut results, &case(key, metric), metric, &rounds);
                let dom0 = Key {
                    place: DOM0.to_owned(),
                    ..key.clone()
                };
                let both = self.value(key, metric).zip(self.value(&dom0, metric));
                if let Some((own, other)) = both.filter(|_| key.place != DOM0) {
                    results.compare_last(own / other, &case(&dom0, metric));
                }
            }
        }
        for test in &self.xen_test {
            let case = format!("xen-test/{}", test.name);
            results.push(&case, "ns", test.average as f64);
        }
        results
    }

    /// The least of each figure that can be counted, over all rounds: for the baseline.
    pub(super) fn counted(&self) -> Results {
        let mut results = Results::default();
        for key in self.keys().filter(|key| key.place != DOM0) {
            for metric in KINDS
                .map(Metric::Instructions)
                .into_iter()
                .chain(Each::ALL.map(Metric::Each))
                // How many of them become one is a matter of chance.
                .filter(|metric| *metric != Metric::Each(Each::Interrupts))
            {
                let rounds = self.rounds(key, metric);
                if !rounds.is_empty() {
                    let least = rounds.into_iter().fold(f64::INFINITY, f64::min);
                    // More digits would only make the file hard to read.
                    let least = (least * 10_000.0).round() / 10_000.0;
                    results.push(&case(key, metric), metric.unit(), least);
                }
            }
        }
        results
    }
}

fn case(key: &Key, metric: Metric) -> String {
    format!(
        "{}/{}/{}/{}",
        key.place,
        key.vcpus,
        key.workload,
        metric.name()
    )
}

fn push(results: &mut Results, case: &str, metric: Metric, rounds: &[f64]) {
    // What more a round took is what else happened in it.
    let least = rounds.iter().copied().reduce(f64::min);
    match least.filter(|_| metric.unit() == "instructions") {
        Some(least) => results.push(case, metric.unit(), least),
        None => results.push_rounds(case, metric.unit(), rounds),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::lines::{self, tests::GOOD};
    use super::*;

    fn key(place: &str) -> Key {
        Key {
            vcpus: 1,
            workload: "latency".to_owned(),
            place: place.to_owned(),
        }
    }

    /// Two rounds in a guest, and two of dom0, which is twice as fast and counts nothing.
    pub(in super::super) fn measured() -> Measured {
        let mut measured = Measured::default();
        let run = lines::run(&lines::tests::lines(&GOOD), 3).expect("a run");
        let mut second = run.clone();
        second.elapsed *= 2;
        second.counted.busy = Some(100_000_000);
        let mut dom0 = run.clone();
        dom0.elapsed /= 2;
        dom0.counted = Counted::default();
        for kind in dom0.kinds.values_mut() {
            kind.instructions = None;
        }
        for (place, run) in [
            ("async", &run),
            ("async", &second),
            (DOM0, &dom0),
            (DOM0, &dom0),
        ] {
            measured.add(key(place), run.clone());
        }
        measured
    }

    #[test]
    fn figures_are_medians_beside_dom0_and_instructions_the_least() {
        let measured = measured();
        let results = measured.results();
        let row = |case: &str| results.get(case).expect("a row").clone();
        let rate = row("async/1/latency/rate");
        assert_eq!(rate.value, 7500.0);
        let compared = rate.compared.expect("beside dom0");
        assert_eq!(compared.to, "dom0/1/latency/rate");
        assert_eq!(compared.ratio, 0.375);
        assert_eq!(rate.range.expect("rounds").rounds, 2);
        assert_eq!(row("async/1/latency/instructions").value, 25_000.0);
        assert_eq!(row("async/1/latency/read-instructions").value, 72_000.0);
        assert_eq!(row("async/1/latency/read-p99").value, 150_000.0);
        assert_eq!(row("async/1/latency/hypercalls").value, 1.025);
        // Of the client that counts nothing there is nothing.
        assert!(results.get("dom0/1/latency/hypercalls").is_none());
        assert!(results.get("dom0/1/latency/read-instructions").is_none());
        assert_eq!(measured.places(1), [DOM0, "async"]);
    }

    #[test]
    fn the_baseline_has_what_is_counted_in_the_guest_only() {
        let counted = measured().counted();
        let cases: Vec<_> = counted.rows().iter().map(|row| &*row.case).collect();
        assert_eq!(
            cases,
            [
                "async/1/latency/read-instructions",
                "async/1/latency/write-instructions",
                "async/1/latency/instructions",
                "async/1/latency/hypercalls",
                "async/1/latency/sends",
                "async/1/latency/allocations",
            ]
        );
        assert_eq!(counted.rows()[2].value, 25_000.0);
    }
}
