// SPDX-License-Identifier: BSD-2-Clause
//! Suite `kexec`: builds `tools/kbench` with the profile of the shipping images, runs it, and prints its figures; then those of
//! the storm guest (`tools/kstorm`) on Xen in the rig, whose clock counts instructions.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::results::Results;
use crate::test::storm;
use crate::util;

/// What kbench prints; see its crate documentation.
#[derive(Deserialize)]
struct Report {
    features: Vec<String>,
    header: u32,
    rounds: u32,
    rows: Vec<Row>,
}

/// One contender of one case: nanoseconds of an operation, and kexec's ratio to it; medians, 10th and 90th percentile.
#[derive(Deserialize)]
struct Row {
    case: String,
    on: String,
    ns: f64,
    low: f64,
    high: f64,
    ratio: f64,
    ratio_low: f64,
    ratio_high: f64,
}

/// Upper bounds of ratios: case, to whom, bound.
const TARGETS: [(&str, &str, f64); 4] = [
    ("self-wake", "embassy", 1.10),
    ("costly-pender", "embassy", 1.15),
    ("spawn-join", "embassy", 3.3),
    ("wake-4096", "wake-16", 1.10),
];

/// Largest header of a task in bytes.
const HEADER: u32 = 96;

/// Measures.
///
/// # Errors
///
/// kbench can't be built or run, or was not built as the drivers are; the rig can't run.
pub(super) fn measure() -> Result<Results> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--release", "--package", "kbench"]);
    util::run(build.current_dir(util::root())).context("building kbench")?;
    let program = util::target_dir().join("release/kbench");
    let report = util::output(&mut Command::new(program)).context("kbench")?;
    let report = serde_json::from_str(&report).context("what kbench printed")?;
    let mut results = show(&report)?;
    println!("\nthe storm guest on Xen, by the rig's instruction clock:");
    let (first_poll, longest) = storm::instructions().context(
        "the rig can't run here: no figures in instructions, and no results are written",
    )?;
    instructions(&mut results, first_poll, longest);
    Ok(results)
}

/// Adds and prints what the rig measured.
fn instructions(results: &mut Results, first_poll: u64, longest: u64) {
    const UNIT: &str = "instructions";
    results.push("dpc-to-first-poll", UNIT, first_poll as f64);
    println!("{:17} {first_poll:>7} {UNIT}", "dpc-to-first-poll");
    results.push("budget-max", UNIT, longest as f64);
    let met = if longest <= storm::LONGEST {
        "met"
    } else {
        "MISSED"
    };
    let limit = storm::LONGEST;
    println!(
        "{:17} {longest:>7} {UNIT}  target {limit}: {met}",
        "budget-max"
    );
}

fn show(report: &Report) -> Result<Results> {
    let (features, header) = (&report.features, report.header);
    println!("kexec: features {features:?}, header {header} bytes of at most {HEADER}");
    ensure!(
        features.is_empty(),
        "features that the shipping drivers do not have"
    );
    ensure!(header <= HEADER, "the header is too large");
    println!(
        "medians of {} interleaved rounds, [10th..90th percentile]; ratio: kexec's time as a part of theirs\n",
        report.rounds
    );
    let mut results = Results::default();
    results.push("header", "bytes", f64::from(header));
    let mut ours: Option<&Row> = None;
    let mut first_wake: Option<&Row> = None;
    for row in &report.rows {
        let own = match ours {
            Some(own) if own.case == row.case => own,
            _ => {
                println!(
                    "{:15} {:>7.1} ns  [{:.1}..{:.1}]",
                    row.case, row.ns, row.low, row.high
                );
                ours = Some(row);
                if row.case.starts_with("wake-") {
                    let first = *first_wake.get_or_insert(row);
                    if first.case != row.case {
                        let ratio = row.ns / first.ns;
                        results.push_ratio(&row.case, "ns", row.ns, ratio, &first.case);
                        println!(
                            "    to {:14} {:>7.1} ns  ratio {ratio:.2}{}",
                            first.case,
                            first.ns,
                            verdict(&row.case, &first.case, ratio)
                        );
                    }
                }
                continue;
            }
        };
        results.push_ratio(&row.case, "ns", own.ns, row.ratio, &row.on);
        println!(
            "    to {:14} {:>7.1} ns  ratio {:.2} [{:.2}..{:.2}]{}",
            row.on,
            row.ns,
            row.ratio,
            row.ratio_low,
            row.ratio_high,
            verdict(&row.case, &row.on, row.ratio)
        );
    }
    Ok(results)
}

/// What to say about a ratio that has a target.
fn verdict(case: &str, to: &str, ratio: f64) -> String {
    TARGETS
        .iter()
        .find(|target| (target.0, target.1) == (case, to))
        .map(|(_, _, bound)| {
            let met = if ratio <= *bound { "met" } else { "MISSED" };
            format!("  target {bound:.2}: {met}")
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_or_missed_and_other_ratios_have_none() {
        assert!(verdict("self-wake", "embassy", 1.10).ends_with("met"));
        assert!(verdict("self-wake", "embassy", 1.11).ends_with("MISSED"));
        assert_eq!(verdict("self-wake", "tokio", 9.0), "");
    }

    #[test]
    fn a_core_that_does_not_ship_is_refused() {
        let report = |features: &[&str], header| Report {
            features: features.iter().map(|&name| name.to_owned()).collect(),
            header,
            rounds: 1,
            rows: Vec::new(),
        };
        assert!(show(&report(&[], 96)).is_ok());
        assert!(show(&report(&["trace"], 88)).is_err());
        assert!(show(&report(&[], 97)).is_err());
    }
}
