// SPDX-License-Identifier: BSD-2-Clause
//! The figures that repeat: what one operation of a kind takes when one, and when 64 are on their way, on the rig's instruction clock.
//!
//! `xenstore-baseline.json` beside the suites has them as last accepted. The tests compare; whoever makes an operation cheaper or, with a
//! reason, dearer, changes the file in the same commit: `cargo xtask bench xenstore --update-baseline`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::compare::{Comparison, TOLERANCE, Verdict};
use crate::bench::results::Results;
use crate::util;

const UPDATE: &str = "cargo xtask bench xenstore --update-baseline";

fn path() -> PathBuf {
    util::root().join("tools/xtask/src/bench/xenstore-baseline.json")
}

/// Makes `results` what later runs are compared with.
///
/// # Errors
///
/// The file can't be written.
pub(super) fn update(results: &Results) -> Result<()> {
    let path = path();
    results.write_to(&path)?;
    println!("{} has {} figures", path.display(), results.rows().len());
    Ok(())
}

/// Compares `results` with the baseline.
///
/// # Errors
///
/// A figure has grown by more than the tolerance, or the two have other cases.
pub(super) fn check(results: &Results) -> Result<()> {
    let text = verdict(&Results::read(&path()).context("the baseline")?, results)?;
    println!("{text}");
    Ok(())
}

fn verdict(baseline: &Results, results: &Results) -> Result<String> {
    let comparison = Comparison::new(baseline, results)?;
    let lines = |changes: Vec<String>| changes.join("\n    ");
    let changes = |verdict| lines(comparison.of(verdict).map(ToString::to_string).collect());
    let percent = TOLERANCE * 100.0;
    let worse = changes(Verdict::Worse);
    if !worse.is_empty() {
        bail!(
            "dearer than the baseline by more than {percent} % (case, baseline, now, ratio):\n    {worse}\n\
             make it cheaper, or say the reason in the commit that changes the baseline: {UPDATE}"
        );
    }
    let (gone, fresh) = (&comparison.only_old, &comparison.only_new);
    if !gone.is_empty() || !fresh.is_empty() {
        bail!("the baseline has other cases: gone {gone:?}, new {fresh:?}; {UPDATE}");
    }
    let better = changes(Verdict::Better);
    let (count, furthest) = (comparison.changes.len(), comparison.furthest() * 100.0);
    Ok(if better.is_empty() {
        format!(
            "    {count} figures are within {percent} % of the baseline, the furthest off by {furthest:.2} %"
        )
    } else {
        format!(
            "    {count} figures are no worse than the baseline; cheaper by more than {percent} %, so let it hold that, {UPDATE}:\n    {better}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: f64) -> Results {
        let mut results = Results::default();
        results.push("async/1/read-1/instructions", "instructions", value);
        results
    }

    #[test]
    fn the_baseline_fails_what_has_grown_and_reports_what_has_shrunk() {
        let same = verdict(&one(100.0), &one(103.0)).expect("within");
        assert!(same.contains("1 figures are within 3 %"), "{same}");
        let better = verdict(&one(100.0), &one(90.0)).expect("better");
        assert!(better.contains("--update-baseline"), "{better}");
        let worse = verdict(&one(100.0), &one(103.1))
            .expect_err("worse")
            .to_string();
        assert!(worse.contains("async/1/read-1/instructions"), "{worse}");
        assert!(worse.contains("--update-baseline"), "{worse}");
    }

    #[test]
    fn a_baseline_of_other_cases_is_no_baseline() {
        let mut more = one(100.0);
        more.push("async/1/read-1/sends", "events", 1.0);
        for (old, new) in [(&one(100.0), &more), (&more, &one(100.0))] {
            let error = verdict(old, new).expect_err("other cases").to_string();
            assert!(error.contains("async/1/read-1/sends"), "{error}");
        }
    }
}
