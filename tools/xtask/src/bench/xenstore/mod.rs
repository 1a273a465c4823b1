// SPDX-License-Identifier: BSD-2-Clause
//! Suite `xenstore`: the workloads of `tools/xenstress` on our drivers in a guest on Xen in the rig, and in dom0 beside it.
//!
//! Each number of processors has one boot, in which all rounds of all workloads run one after the other: on the asynchronous interface, on the
//! published vtable, and by dom0's client, with which the others are compared; and one of a Linux guest, which runs the same over its own
//! client, in one round. The rig's clock counts instructions; see [`super::bus`].

mod baseline;
mod figures;
mod guest;
mod lines;
mod plan;
mod plots;
mod report;
mod soak;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::results::Results;
use crate::build::{self, Flavor};
use crate::run::progress;
use crate::stress::Transfers;
use figures::{DOM0, Key, Measured};
use guest::{Guest, PLACES, Set};
use lines::Run;
use plan::Planned;

/// Passes of which the baseline has the cheapest.
const PASSES: usize = 2;

/// Arguments of this suite alone.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Options of suite xenstore")]
pub(crate) struct Options {
    /// How often everything but the Linux guest is measured, of which the tables have the median
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    rounds: u32,
    /// Numbers of virtual CPUs
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 4], value_parser = clap::value_parser!(u32).range(1..=32))]
    vcpus: Vec<u32>,
    /// Few operations, as in the tests: every check, rough figures
    #[arg(long)]
    short: bool,
    /// Measure xen.sys, xenbus.sys and xenfilt.sys of DIR beside our own
    #[arg(long, value_name = "DIR")]
    drivers: Option<PathBuf>,
    /// Instead of measuring, run everything at once for so long, on 4 processors, and check that nothing is lost
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["short", "drivers", "compare", "update_baseline"])]
    pub(super) soak: Option<u32>,
    /// The guest's interface during the soak
    #[arg(long, value_name = "PLACE", default_value = "async", value_parser = PLACES)]
    place: String,
    /// Only count, and accept the figures as the baseline of the tests
    #[arg(long, conflicts_with_all = ["short", "drivers", "compare"])]
    pub(super) update_baseline: bool,
}

/// A benchmark under way.
struct Bench<S> {
    rounds: usize,
    plan: Vec<Planned>,
    say: S,
    measured: Measured,
}

impl<S: Fn(&str)> Bench<S> {
    /// Builds what is needed.
    fn new(rounds: usize, plan: Vec<Planned>, say: S) -> Result<Self> {
        build::images(Flavor::Free, &build::IMAGES)?;
        Ok(Self {
            rounds,
            plan,
            say,
            measured: Measured::default(),
        })
    }

    /// Runs everything at the places of `set`; what it ran on.
    fn run(&mut self, set: &Set, vcpus: u32) -> Result<report::Facts> {
        let mut guest = Guest::boot(set, vcpus)?;
        for first in [true, false] {
            if !first {
                guest.allow_transactions()?;
            }
            for round in 1..=self.rounds_of(set) {
                for index in 0..self.plan.len() {
                    if self.plan[index].first == first {
                        self.workload(&mut guest, (set, vcpus), round, index)?;
                    }
                }
            }
        }
        if set.with_dom0 && self.measured.xen_test.is_empty() {
            self.measured.xen_test = guest.xen_test()?;
        }
        let Transfers { done, conflicts } = guest.transfers;
        if done > 0 {
            (self.say)(&format!(
                "{done} transfers of dom0 beside, {conflicts} conflicts of these"
            ));
        }
        let facts = guest.facts()?;
        guest.quit()?;
        Ok(facts)
    }

    /// Of the Linux guest one is enough: others are compared with it, and it is no part of ours.
    fn rounds_of(&self, set: &Set) -> usize {
        if set.is_linux() { 1 } else { self.rounds }
    }

    /// One workload at each place.
    fn workload(
        &mut self,
        guest: &mut Guest,
        (set, vcpus): (&Set, u32),
        round: usize,
        index: usize,
    ) -> Result<()> {
        let (planned, whose, rounds) = (&self.plan[index], set.prefix, self.rounds_of(set));
        let workload = &planned.name;
        let places: Vec<_> = set.places.iter().map(|at| format!("{whose}{at}")).collect();
        (self.say)(&format!(
            "{vcpus} vCPU, round {round} of {rounds}: {workload} ({})",
            places.join(", ")
        ));
        let mut add = |place: String, run: Result<Run>| {
            let run = run.with_context(|| format!("{place}, {workload}"))?;
            // dom0's own client may be done with all of them in one pause of the others.
            ensure!(
                planned.name != plan::ALONE || place == DOM0 || run.retries > 0,
                "{place}, {workload}: no transaction met a conflict with one of dom0's"
            );
            let workload = workload.clone();
            let key = Key {
                vcpus,
                workload,
                place,
            };
            self.measured.add(key, run);
            Ok(())
        };
        for (place, name) in set.places.iter().zip(places) {
            add(name, guest.run(place, planned))?;
        }
        if set.with_dom0 {
            add(DOM0.to_owned(), guest.run_in_dom0(planned))?;
        }
        Ok(())
    }
}

/// What is counted for the baseline.
fn count(say: impl Fn(&str)) -> Result<Results> {
    let mut bench = Bench::new(PASSES, plan::counted(), say)?;
    let mut ours = Set::ours();
    ours.with_dom0 = false;
    bench.run(&ours, 1)?;
    Ok(bench.measured.counted())
}

/// Counts, and makes the figures the baseline.
///
/// # Errors
///
/// As for [`measure`].
pub(super) fn update_baseline() -> Result<()> {
    baseline::update(&count(progress(Instant::now()))?)
}

/// Runs everything at once for so many minutes.
///
/// # Errors
///
/// Something can't be built, the rig can't run, or anything was lost or invented.
pub(super) fn soak(args: &Options, minutes: u32) -> Result<()> {
    soak::run(&args.place, minutes)
}

/// Measures, prints the tables and writes the report.
///
/// # Errors
///
/// Something can't be built, the rig can't run, or a check failed: then nothing is written.
pub(super) fn measure(args: &Options) -> Result<Results> {
    let mut sets = vec![Set::ours(), Set::linux()];
    sets.extend(args.drivers.as_deref().map(Set::other).transpose()?);
    let say = progress(Instant::now());
    let mut bench = Bench::new(args.rounds as usize, plan::all(args.short), &say)?;
    let mut facts = report::Facts::new();
    for &vcpus in &args.vcpus {
        for set in &sets {
            facts = bench.run(set, vcpus)?;
        }
    }
    let measured = &bench.measured;
    facts.extend(about(args));
    for table in tables::all(measured) {
        println!("{table}{}", table.note);
    }
    println!();
    for (name, value) in &facts {
        println!("{name}: {value}");
    }
    println!("{}", report::write(measured, &facts)?.display());
    say("done");
    Ok(measured.results())
}

/// What was run, as far as this program knows.
fn about(args: &Options) -> report::Facts {
    let vcpus: Vec<_> = args.vcpus.iter().map(ToString::to_string).collect();
    let mut facts = vec![
        (
            "Drivers",
            format!("{}, the shipping build", env!("CARGO_PKG_VERSION")),
        ),
        ("vCPUs", vcpus.join(", ")),
        ("Rounds", args.rounds.to_string()),
        (
            "Clock",
            "executed instructions; one is a nanosecond".to_owned(),
        ),
    ];
    if let Some(folder) = &args.drivers {
        facts.push(("other-", format!("the drivers of {}", folder.display())));
    }
    if args.short {
        facts.push(("Form", "short: rough figures".to_owned()));
    }
    facts
}

/// Runs every workload in short on `vcpus` processors, for the tests: nothing may be lost or invented.
///
/// # Errors
///
/// As for [`measure`].
pub(crate) fn short(vcpus: u32) -> Result<()> {
    run_short(&Set::ours(), vcpus, plan::all(true))
}

/// Runs every workload in short in a Linux guest, for the tests: nothing may be lost or invented.
///
/// # Errors
///
/// As for [`measure`].
pub(crate) fn short_in_linux(vcpus: u32) -> Result<()> {
    run_short(&Set::linux(), vcpus, plan::all(true))
}

/// Runs two workloads in short with the drivers of `folder`, for the tests.
///
/// # Errors
///
/// As for [`measure`]; or the set cannot run here.
pub(crate) fn short_with(folder: &Path) -> Result<()> {
    let mut plan = plan::all(true);
    plan.retain(|planned| ["latency", "mixed"].contains(&planned.name.as_str()));
    run_short(&Set::other(folder)?, 1, plan)
}

fn run_short(set: &Set, vcpus: u32, plan: Vec<Planned>) -> Result<()> {
    let mut bench = Bench::new(1, plan, |_: &str| ())?;
    bench.run(set, vcpus)?;
    for table in tables::all(&bench.measured) {
        print!("{table}");
    }
    Ok(())
}

/// Counts what operations take and compares with the baseline.
///
/// # Errors
///
/// As for [`measure`]; or something has become dearer.
pub(crate) fn compare_with_baseline() -> Result<()> {
    baseline::check(&count(|_| ())?)
}
