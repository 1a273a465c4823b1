// SPDX-License-Identifier: BSD-2-Clause
//! The form of every benchmark's results: `target/bench/<suite>.json`, an array of objects:
//!
//! | key | value |
//! |---|---|
//! | `case` | what was measured |
//! | `unit` | `"ns"`, `"bytes"`, `"instructions"`, ... of one operation; `"../s"` are rates |
//! | `value` | a number: ours; of several rounds the median |
//! | `low`, `high`, `rounds` | optional: the least and the greatest of the rounds, and how many there were |
//! | `ratio` | optional: `value` as a part of what `to` needs for the same; below 1 is better than it, but for rates |
//! | `to` | with `ratio`: whom it is compared with, an executor or another case |
//!
//! A case that is compared with several has an object for each.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::util;

/// One object of the array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) unit: Cow<'static, str>,
    pub(crate) value: f64,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<Range>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Compared>,
}

/// What several rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) rounds: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) ratio: f64,
    pub(crate) to: String,
}

impl Row {
    /// Whether a greater value is the better one.
    pub(crate) fn is_rate(&self) -> bool {
        self.unit.ends_with("/s")
    }

    /// Whether it is a number of things that an operation takes.
    pub(crate) fn is_counted(&self) -> bool {
        ["hypercalls", "events", "interrupts", "pool blocks"].contains(&&*self.unit)
    }
}

/// What one suite has measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results(Vec<Row>);

impl Results {
    /// Adds a figure that is compared with nothing.
    pub(crate) fn push(&mut self, case: &str, unit: &'static str, value: f64) {
        self.0.push(Row {
            case: case.to_owned(),
            unit: unit.into(),
            value,
            range: None,
            compared: None,
        });
    }

    /// Adds a figure that is `ratio` times what `to` has.
    pub(crate) fn push_ratio(
        &mut self,
        case: &str,
        unit: &'static str,
        value: f64,
        ratio: f64,
        to: &str,
    ) {
        self.push(case, unit, value);
        if let Some(row) = self.0.last_mut() {
            row.compared = Some(Compared {
                ratio,
                to: to.to_owned(),
            });
        }
    }

    /// Adds the median of what the rounds gave; nothing if there is none.
    pub(crate) fn push_rounds(&mut self, case: &str, unit: &'static str, rounds: &[f64]) {
        let Some(median) = median(rounds) else {
            return;
        };
        self.push(case, unit, median);
        if let Some(row) = self.0.last_mut() {
            row.range = Some(Range {
                low: rounds.iter().copied().fold(f64::INFINITY, f64::min),
                high: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                rounds: rounds.len(),
            });
        }
    }

    /// Says that the last figure is `ratio` times what the case `to` has.
    pub(crate) fn compare_last(&mut self, ratio: f64, to: &str) {
        if let Some(row) = self.0.last_mut() {
            let to = to.to_owned();
            row.compared = Some(Compared { ratio, to });
        }
    }

    /// Every figure.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.0
    }

    /// The first figure of `case`.
    #[cfg(test)]
    pub(crate) fn get(&self, case: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.case == case)
    }

    /// Writes the file of `suite`; its path.
    ///
    /// # Errors
    ///
    /// It can't be written.
    pub(crate) fn write(&self, suite: &str) -> Result<PathBuf> {
        let path = util::target_dir().join(format!("bench/{suite}.json"));
        self.write_to(&path)?;
        Ok(path)
    }

    /// Writes the file at `path`.
    ///
    /// # Errors
    ///
    /// It can't be written.
    pub(crate) fn write_to(&self, path: &Path) -> Result<()> {
        util::write_if_changed(path, &self.json()?)
    }

    fn json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&self.0).context("results as JSON")?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads a file of results.
    ///
    /// # Errors
    ///
    /// It can't be read, or has another form.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = util::read(path).context("results to compare with")?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} has no results of `cargo xtask bench`, which are an array of objects with case, unit and value",
                path.display()
            )
        })
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let rows: Vec<Row> = serde_json::from_slice(text)?;
        ensure!(!rows.is_empty(), "the array is empty");
        Ok(Self(rows))
    }
}

/// The one in the middle, or what is between the two there.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (
        sorted.get(sorted.len().checked_sub(1)? / 2)?,
        sorted.get(sorted.len() / 2)?,
    );
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_comes_with_whom_it_is_to_or_not_at_all() {
        let mut results = Results::default();
        results.push("header", "bytes", 88.0);
        results.push_ratio("self-wake", "ns", 26.5, 1.04, "embassy");
        let json: serde_json::Value =
            serde_json::from_slice(&results.json().expect("JSON")).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!([
                {"case": "header", "unit": "bytes", "value": 88.0},
                {"case": "self-wake", "unit": "ns", "value": 26.5, "ratio": 1.04, "to": "embassy"},
            ])
        );
    }

    #[test]
    fn rounds_give_their_median_and_range_and_all_is_read_back() {
        let mut results = Results::default();
        results.push("header", "bytes", 88.0);
        results.push_rounds("rate", "reads/s", &[30.0, 10.0, 20.0]);
        results.compare_last(0.5, "dom0");
        results.push_rounds("none", "ns", &[]);
        let (first, row) = (&results.rows()[0], results.get("rate").expect("rate"));
        assert_eq!(results.rows().len(), 2);
        assert!(row.is_rate() && !first.is_rate());
        assert_eq!(row.value, 20.0);
        let range = row.range.expect("a range");
        assert_eq!((range.low, range.high, range.rounds), (10.0, 30.0, 3));
        let again = Results::parse(&results.json().expect("JSON")).expect("read back");
        assert_eq!(again, results);
        assert_eq!(median(&[1.0, 2.0, 3.0, 10.0]), Some(2.5));
    }

    #[test]
    fn what_is_no_file_of_results_is_refused_in_plain_words() {
        let error = |path: &Path| format!("{:#}", Results::read(path).expect_err("refused"));
        let missing = error(Path::new("/nonexistent/old.json"));
        assert!(missing.contains("/nonexistent/old.json"), "{missing}");
        let text = error(&util::root().join("Cargo.toml"));
        assert!(
            text.contains("Cargo.toml has no results of `cargo xtask bench`"),
            "{text}"
        );
        for bad in ["[]", "{}", "[{\"case\": \"a\"}]"] {
            assert!(Results::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
