// SPDX-License-Identifier: BSD-2-Clause
//! The sample run in every kind of guest.

use std::path::Path;

use anyhow::{Result, ensure};

use super::Suite;
use crate::run::{self, Args};

/// Name, vCPUs, HVM, checked.
const RUNS: [(&str, u32, bool, bool); 5] = [
    ("sample: PVH, 1 vCPU", 1, false, false),
    ("sample: PVH, 4 vCPUs", 4, false, false),
    ("sample: PVH, 4 vCPUs, checked drivers", 4, false, true),
    ("sample: HVM, 1 vCPU", 1, true, false),
    ("sample: HVM, 4 vCPUs", 4, true, false),
];

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for (name, vcpus, hvm, checked) in RUNS {
        suite.step(name, || sample(&Args::new(vcpus, hvm, checked), kernel));
    }
}

fn sample(args: &Args, kernel: &Path) -> Result<()> {
    let report = run::run(args, kernel)?;
    report.verdict()?;
    for name in [
        "published-store",
        "read",
        "write",
        "directory",
        "transaction",
        "watch",
        "bounce",
    ] {
        ensure!(
            report.operation(name).is_some(),
            "no operation {name} in the report"
        );
    }
    for driver in ["xenbus", "XENFILT", "xensample"] {
        ensure!(
            report.tried_to_open(driver),
            "no open of a device of {driver} was tried"
        );
    }
    let read = report
        .operation("read")
        .map_or((0, 0), |read| (read.sends, read.passes));
    ensure!(
        read.0 <= 1 && read.1 > 0,
        "one read sent {} events in {} passes",
        read.0,
        read.1
    );
    Ok(())
}
