// SPDX-License-Identifier: BSD-2-Clause
//! Measures kexec's core beside other executors, in one process; `cargo xtask bench kexec` builds, runs and prints it.
//!
//! Prints one JSON object: what was measured (`features`, `header` in bytes), and a row for each contender of each case. The core
//! is the one that ships: a crate that depends on kexec with the features of the drivers, which are none.

mod cases;
mod contenders;
mod harness;
mod timers;
mod work;

use std::env;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use harness::Effort;

fn main() -> Result<()> {
    let mut effort = Effort::FULL;
    let mut only = None;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--smoke" => effort = Effort::SMOKE,
            "--only" => only = arguments.next(),
            _ => bail!("usage: kbench [--smoke] [--only CASE]"),
        }
    }
    println!("{}", report(effort, only.as_deref())?);
    Ok(())
}

fn report(effort: Effort, only: Option<&str>) -> Result<serde_json::Value> {
    let (features, header) = (kexec::FEATURES, kexec::task::HEADER_SIZE);
    ensure!(
        features.is_empty(),
        "kexec was built with {features:?}, the drivers have none of these"
    );
    ensure!(header <= 96, "a task's header has {header} bytes");
    Ok(json!({
        "features": features,
        "header": header,
        "rounds": effort.rounds,
        "rows": cases::all(effort, only),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_on_the_shipping_core() {
        let report = report(Effort::SMOKE, None).expect("shipping features, small header");
        let rows = report["rows"].as_array().expect("rows");
        for case in [
            "self-wake",
            "outside-wake",
            "ping-pong",
            "costly-pender",
            "spawn-join",
            "parked-4096",
            "timer",
            "wake-16",
            "wake-256",
            "wake-4096",
        ] {
            let on: Vec<_> = rows
                .iter()
                .filter(|row| row["case"] == case)
                .map(|row| row["on"].as_str().expect("a name"))
                .collect();
            let to = if case == "timer" { "tokio" } else { "embassy" };
            assert_eq!(on[..2], ["kexec", to], "{case}");
        }
        for row in rows {
            let nanos = row["ns"].as_f64().expect("a number");
            assert!(nanos > 0.0 && nanos.is_finite(), "{row}");
        }
    }
}
