// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask bench [SUITE]...`: measures, prints a table for each suite, and writes `target/bench/<suite>.json`.
//!
//! A suite is a file here with a function that measures and returns [`results::Results`], and a line in [`Suite`].

pub(crate) mod bus;
mod compare;
mod kexec;
mod results;
pub(crate) mod trace;
pub(crate) mod xenstore;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use results::Results;

use crate::setup::{self, Purpose};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to measure; everything when none is named
    suites: Vec<Suite>,
    /// Compare with FILE, which an earlier run of the same suite has written; fails if something has become worse
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Install missing Debian packages without asking
    #[arg(long)]
    yes: bool,
    /// Instead of measuring, show the way of one store request, and write target/bench/xenstore-trace.json for a trace viewer
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    xenstore: xenstore::Options,
}

/// What can be measured.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Suite {
    /// The executor's core beside other executors on this machine, and its instructions on Xen in the rig
    Kexec,
    /// The bus services on Xen in the rig: instructions, hypercalls, event sends, pool blocks, and rates beside dom0's client
    Bus,
    /// The workloads of xenstress through our drivers on Xen in the rig, beside dom0's client; with a report in HTML
    Xenstore,
}

/// Measures the suites asked for.
///
/// # Errors
///
/// One can't be built or run, or measures something else than what ships; or a figure is worse than that of `--compare`.
pub(crate) fn main(args: &Args) -> Result<()> {
    // Before anything is measured for nothing.
    let old = args.compare.as_deref().map(Results::read).transpose()?;
    ensure!(
        old.is_none() || args.suites.len() == 1,
        "--compare needs the name of one suite"
    );
    ensure!(
        !args.trace || matches!(args.suites[..], [] | [Suite::Xenstore]),
        "--trace is for the suite xenstore"
    );
    setup::ensure(&[Purpose::Build, Purpose::Rig], args.yes)?;
    if args.trace {
        return trace::show();
    }
    if let Some(minutes) = args.xenstore.soak {
        return xenstore::soak(&args.xenstore, minutes);
    }
    if args.xenstore.update_baseline {
        return xenstore::update_baseline();
    }
    let all = <Suite as clap::ValueEnum>::value_variants();
    let suites = if args.suites.is_empty() {
        all
    } else {
        &args.suites
    };
    for suite in suites {
        let (name, results) = match suite {
            Suite::Kexec => ("kexec", kexec::measure()?),
            Suite::Bus => ("bus", bus::measure()?),
            Suite::Xenstore => ("xenstore", xenstore::measure(&args.xenstore)?),
        };
        println!("{}", results.write(name)?.display());
        if let Some((path, old)) = args.compare.as_deref().zip(old.as_ref()) {
            compare::print(path, old, &results)?;
        }
    }
    Ok(())
}
