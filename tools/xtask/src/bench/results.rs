// SPDX-License-Identifier: BSD-2-Clause
//! The form of every benchmark's results: `target/bench/<suite>.json`, an array of objects:
//!
//! | key | value |
//! |---|---|
//! | `case` | what was measured |
//! | `unit` | `"ns"`, `"bytes"`, `"instructions"`, ... of one operation |
//! | `value` | a number: ours |
//! | `ratio` | optional: `value` as a part of what `to` needs for the same; below 1 is better than it |
//! | `to` | with `ratio`: whom it is compared with, an executor or another case |
//!
//! A case that is compared with several has an object for each.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::util;

/// One object of the array.
#[derive(Clone, Debug, Serialize)]
struct Row {
    case: String,
    unit: &'static str,
    value: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    compared: Option<Compared>,
}

#[derive(Clone, Debug, Serialize)]
struct Compared {
    ratio: f64,
    to: String,
}

/// What one suite has measured.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<Row>);

impl Results {
    /// Adds a figure that is compared with nothing.
    pub(crate) fn push(&mut self, case: &str, unit: &'static str, value: f64) {
        self.0.push(Row {
            case: case.to_owned(),
            unit,
            value,
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

    /// Writes the file of `suite`; its path.
    ///
    /// # Errors
    ///
    /// It can't be written.
    pub(crate) fn write(&self, suite: &str) -> Result<PathBuf> {
        let path = util::target_dir().join(format!("bench/{suite}.json"));
        util::write_if_changed(&path, &self.json()?)?;
        Ok(path)
    }

    fn json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&self.0).context("results as JSON")?;
        text.push(b'\n');
        Ok(text)
    }
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
}
