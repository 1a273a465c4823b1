// SPDX-License-Identifier: BSD-2-Clause
//! The state of the bus, read from the memory of a guest in which it is up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::{Cache, Rig, RigConfig};

use super::Suite;
use super::faults::start_outage;
use crate::build::Flavor;
use crate::{dump, run, util};

/// The bus stays up until the guest is dumped.
const BOOT: &str = "pnp=1\nuntil=NEVER-PRINTED\npnp_wait=60000\n";

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    suite.step(
        "dump: a memory image leads to tasks, ring and counters",
        || live_bus(kernel),
    );
    suite.step(
        "dump: files that are no memory image are refused",
        other_files,
    );
}

fn live_bus(kernel: &Path) -> Result<()> {
    const CPUS: u32 = 2;
    let mut rig = Rig::start(RigConfig {
        cache: Cache::new(),
        ..RigConfig::default()
    })?;
    let payload = run::payload(Flavor::Free, BOOT, "")?;
    // Requests keep going while the image is taken.
    start_outage(&mut rig, kernel, &payload, CPUS)?;
    rig.wait_log("xenbus: child SAMPLE", Duration::from_secs(60))?;
    let file = util::target_dir().join("tmp").join("live-bus.mem");
    util::write_if_changed(&file, b"")?;
    dump::take(&mut rig, &file)?;
    let read = dump::read(&file);
    let dump = read.with_context(|| format!("the image is kept in {}", file.display()))?;
    let ours = format!(
        "{}.{}",
        env!("CARGO_PKG_VERSION"),
        std::env::var("BUILD_NUMBER").unwrap_or_else(|_| "0".to_owned())
    );
    ensure!(
        dump.build == ours,
        "build {} in the image, ours is {ours}",
        dump.build
    );
    for name in ["store", "enumerate"] {
        let task = dump
            .tasks()
            .find(|task| task.name == name)
            .with_context(|| format!("no task {name} in\n{dump}"))?;
        ensure!(
            task.polls > 0 && task.line > 0 && task.file.ends_with(".rs"),
            "odd task {name} in\n{dump}"
        );
    }
    let counter = |name| {
        dump.counter(name)
            .with_context(|| format!("no counter {name} in\n{dump}"))
    };
    ensure!(
        counter("replies")? > 0 && counter("requests")? >= counter("replies")?,
        "odd counters in\n{dump}"
    );
    let ring = dump
        .ring
        .as_ref()
        .with_context(|| format!("no ring in\n{dump}"))?;
    ensure!(
        ring.requests().is_ok() && ring.responses().is_ok(),
        "odd ring in\n{dump}"
    );
    // The free-running index counts all bytes since the page was made; the guest may be paused between index and counter.
    let out = u64::from(ring.words[1]);
    ensure!(
        out > 0 && out.abs_diff(counter("bytes_out")?) <= 1024,
        "the producer is at {out}, not at the bytes sent, in\n{dump}"
    );
    ensure!(
        dump.cpus.len() >= CPUS as usize && dump.cpus.iter().any(|cpu| cpu.upcalls > 0),
        "odd processors in\n{dump}"
    );
    std::fs::remove_file(&file)?;
    Ok(())
}

fn other_files() -> Result<()> {
    let images = Flavor::Free.dir();
    let error = dump::read(&images.join("xenbus.sys")).map(drop);
    let text = error.err().context("a driver's image passed for memory")?;
    let text = format!("{text:#}");
    ensure!(
        text.contains("not a memory image") || text.contains("leads anywhere"),
        "{text}"
    );
    Ok(())
}
