// SPDX-License-Identifier: BSD-2-Clause
//! Two files of results side by side: `--compare OLD.json`, and the baseline of the tests.
//!
//! A figure is worse when it has grown, or, for a rate, become less, by more than [`TOLERANCE`]. When rounds gave a range, each of the two
//! values must also lie outside the other run's range: anything else is noise. Instructions have no noise that would excuse them. Of what is
//! counted one more in fifty operations is nothing either.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::results::{Results, Row};

/// How much of a figure may change.
pub(crate) const TOLERANCE: f64 = 0.03;

/// How much more of what is counted an operation may take, however little that was.
const SLACK: f64 = 0.02;

/// How a figure has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Better,
    Worse,
}

/// A case that both runs have.
pub(crate) struct Change {
    pub(crate) case: String,
    unit: String,
    old: f64,
    new: f64,
    pub(crate) verdict: Verdict,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            unit,
            old,
            new,
            ..
        } = self;
        // Nothing may have been nothing.
        let ratio = if old == new { 1.0 } else { new / old };
        write!(
            f,
            "{case:44} {old:>13.2} {new:>13.2} {unit:<13} {ratio:>6.3}"
        )?;
        f.write_str(match self.verdict {
            Verdict::Same => "",
            Verdict::Better => "  better",
            Verdict::Worse => "  REGRESSION",
        })
    }
}

/// What two runs say about each other.
#[derive(Default)]
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// Cases of one run only.
    pub(crate) only_old: Vec<String>,
    pub(crate) only_new: Vec<String>,
}

impl Comparison {
    /// Compares every case.
    ///
    /// # Errors
    ///
    /// The two have no case in common: they are of different suites.
    pub(crate) fn new(old: &Results, new: &Results) -> Result<Self> {
        let mut comparison = Self::default();
        for row in new.rows() {
            match twin(row, old) {
                Some(before) => comparison.changes.push(Change {
                    case: row.case.clone(),
                    unit: row.unit.to_string(),
                    old: before.value,
                    new: row.value,
                    verdict: verdict(before, row),
                }),
                None => comparison.only_new.push(row.case.clone()),
            }
        }
        let only_old = old.rows().iter().filter(|row| twin(row, new).is_none());
        comparison.only_old = only_old.map(|row| row.case.clone()).collect();
        ensure!(
            !comparison.changes.is_empty(),
            "not one case is in both: the results are of another suite"
        );
        Ok(comparison)
    }

    /// By how much the figure has changed that has changed most, as a part of what it was.
    pub(crate) fn furthest(&self) -> f64 {
        let changes = self.changes.iter().filter(|change| change.old != 0.0);
        let parts = changes.map(|change| (change.new / change.old - 1.0).abs());
        parts.fold(0.0, f64::max)
    }

    /// Cases that have become worse.
    pub(crate) fn worse(&self) -> impl Iterator<Item = &Change> {
        self.of(Verdict::Worse)
    }

    /// Cases with `verdict`.
    pub(crate) fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Change> {
        let changes = self.changes.iter();
        changes.filter(move |change| change.verdict == verdict)
    }
}

/// Prints what has changed since the results `old` of the file at `path`.
///
/// # Errors
///
/// They are of another suite, or a case has become worse.
pub(super) fn print(path: &Path, old: &Results, new: &Results) -> Result<()> {
    let comparison = Comparison::new(old, new).with_context(|| path.display().to_string())?;
    println!(
        "\n{:44} {:>13} {:>13} {:13} {:>6}",
        format!("since {}", path.display()),
        "then",
        "now",
        "",
        "ratio"
    );
    for change in &comparison.changes {
        println!("{change}");
    }
    for (cases, when) in [
        (&comparison.only_old, "then"),
        (&comparison.only_new, "now"),
    ] {
        if !cases.is_empty() {
            println!("only {when}: {}", cases.join(", "));
        }
    }
    let worse: Vec<_> = comparison.worse().map(|change| &*change.case).collect();
    ensure!(
        worse.is_empty(),
        "{} of {} cases are worse than in {}: {}",
        worse.len(),
        comparison.changes.len(),
        path.display(),
        worse.join(", ")
    );
    println!(
        "no case is worse beyond noise and {:.0} %",
        TOLERANCE * 100.0
    );
    Ok(())
}

/// The figure of the same case, unit and partner.
fn twin<'a>(row: &Row, of: &'a Results) -> Option<&'a Row> {
    let to = |row: &Row| row.compared.as_ref().map(|compared| compared.to.clone());
    let mut rows = of.rows().iter();
    rows.find(|other| other.case == row.case && other.unit == row.unit && to(other) == to(row))
}

fn verdict(old: &Row, new: &Row) -> Verdict {
    let change = new.value - old.value;
    let within = |value: f64, row: &Row| {
        let range = row.range.filter(|range| range.rounds > 1);
        range.is_some_and(|range| (range.low..=range.high).contains(&value))
    };
    let noise = new.unit != "instructions" && (within(new.value, old) || within(old.value, new));
    let slack = if new.is_counted() { SLACK } else { 0.0 };
    if change.abs() <= (old.value.abs() * TOLERANCE).max(slack) || noise {
        Verdict::Same
    } else if (change > 0.0) == new.is_rate() {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(unit: &'static str, rounds: &[f64]) -> Results {
        let mut results = Results::default();
        results.push_rounds("case", unit, rounds);
        results
    }

    fn verdict_of(unit: &'static str, old: &[f64], new: &[f64]) -> Verdict {
        let comparison = Comparison::new(&one(unit, old), &one(unit, new)).expect("comparable");
        comparison.changes[0].verdict
    }

    #[test]
    fn more_is_worse_but_for_rates() {
        for (unit, more, less) in [
            ("instructions", Verdict::Worse, Verdict::Better),
            ("hypercalls", Verdict::Worse, Verdict::Better),
            ("reads/s", Verdict::Better, Verdict::Worse),
        ] {
            assert_eq!(verdict_of(unit, &[100.0], &[104.0]), more, "{unit}");
            assert_eq!(verdict_of(unit, &[100.0], &[96.0]), less, "{unit}");
            assert_eq!(verdict_of(unit, &[100.0], &[103.0]), Verdict::Same);
            assert_eq!(verdict_of(unit, &[100.0], &[97.0]), Verdict::Same);
        }
    }

    #[test]
    fn a_change_within_either_runs_range_is_noise_unless_it_is_in_instructions() {
        let (old, new) = ([90.0, 100.0, 115.0], [109.0, 110.0, 111.0]);
        assert_eq!(verdict_of("ns", &old, &new), Verdict::Same);
        assert_eq!(
            verdict_of("ns", &new, &[109.5, 120.0, 130.0]),
            Verdict::Same
        );
        assert_eq!(
            verdict_of("ns", &[99.0, 100.0, 101.0], &new),
            Verdict::Worse
        );
        assert_eq!(verdict_of("instructions", &old, &new), Verdict::Worse);
    }

    #[test]
    fn what_was_nothing_may_stay_nothing_only() {
        assert_eq!(verdict_of("pool blocks", &[0.0], &[0.0]), Verdict::Same);
        assert_eq!(verdict_of("pool blocks", &[0.0], &[0.5]), Verdict::Worse);
        assert_eq!(verdict_of("events", &[0.07], &[0.08]), Verdict::Same);
        assert_eq!(verdict_of("instructions", &[0.07], &[0.08]), Verdict::Worse);
    }

    #[test]
    fn cases_of_one_side_are_named_and_another_suite_is_refused() {
        let mut old = one("ns", &[1.0]);
        let mut new = old.clone();
        old.push("gone", "ns", 1.0);
        new.push("fresh", "ns", 1.0);
        // Another unit is another figure.
        old.push("turned", "ns", 1.0);
        new.push("turned", "bytes", 1.0);
        let comparison = Comparison::new(&old, &new).expect("comparable");
        assert_eq!(comparison.only_old, ["gone", "turned"]);
        assert_eq!(comparison.only_new, ["fresh", "turned"]);
        let mut other = Results::default();
        other.push("another", "ns", 1.0);
        let refused = Comparison::new(&other, &new).err().expect("refused");
        assert!(refused.to_string().contains("another suite"), "{refused}");
    }

    #[test]
    fn a_regression_is_an_error_that_names_the_case() {
        let path = Path::new("old.json");
        let old = one("instructions", &[100.0]);
        assert!(print(path, &old, &one("instructions", &[101.0])).is_ok());
        let error = print(path, &old, &one("instructions", &[110.0])).expect_err("worse");
        assert_eq!(
            error.to_string(),
            "1 of 1 cases are worse than in old.json: case"
        );
    }
}
