// SPDX-License-Identifier: BSD-2-Clause
//! What the bus services cost, as far as it can be counted: `cargo xtask bench bus` in short, held to its limits. Never a rate or
//! a time. And the workloads of `cargo xtask bench xenstore`, which check themselves, with the figures that repeat.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::Suite;
use crate::bench::bus::{BLOCKS, PER_READ, Run, SENDS};
use crate::bench::{trace, xenstore};
use crate::build::{self, Flavor, check::set};
use crate::util;

/// Instructions of the guest for one store read, as last accepted.
///
/// Whoever makes it cheaper lowers this number; whoever has a reason to make it dearer raises it, and says the reason in the commit.
/// A new compiler or Xen may move it too.
const READ: f64 = 54_309.0;
/// How much more it may be.
const TOLERANCE: f64 = 1.03;

pub(super) fn steps(suite: &mut Suite<'_>) {
    suite.step("bench: what the bus services cost, counted", || {
        check(&Run::new(true)?)
    });
    suite.step("bench: the way of one store request", follow);
    for vcpus in [1, 4] {
        suite.step(
            &format!("bench: xenstore, every workload in short, {vcpus} vCPU"),
            || xenstore::short(vcpus),
        );
    }
    suite.step(
        "bench: xenstore, every workload in short, Linux, 4 vCPU",
        || xenstore::short_in_linux(4),
    );
    suite.step(
        "bench: xenstore, no operation is dearer than the baseline",
        xenstore::compare_with_baseline,
    );
    suite.step("bench: xenstore, another set of drivers", another_set);
}

/// The checked build as a set that somebody else has made; and as one whose xen.sys lacks an export.
fn another_set() -> Result<()> {
    build::images(Flavor::Checked, &build::IMAGES)?;
    let folder = util::target_dir().join("bench/another");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for name in set::SET {
        let image = Flavor::Checked.dir().join(name);
        fs::copy(&image, folder.join(name)).with_context(|| image.display().to_string())?;
    }
    xenstore::short_with(&folder)?;
    set::doctor(&folder.join("xen.sys"), "XenTouch")?;
    let Err(refused) = xenstore::short_with(&folder) else {
        anyhow::bail!("a set without XenTouch was taken");
    };
    let refused = format!("{refused:#}");
    println!("    {}", refused.replace('\n', "\n    "));
    ensure!(
        refused.contains("xen.sys does not export XenTouch"),
        "{refused}"
    );
    Ok(())
}

/// Fails when `value` is over `limit`.
fn at_most(what: &str, value: f64, limit: f64) -> Result<()> {
    println!("    {what}: {value} of at most {limit}");
    ensure!(value <= limit, "{what}: {value}, at most {limit} allowed");
    Ok(())
}

/// Takes a trace, which is only one if every point occurs in its turn, and holds that the images' parts in it are the right ones.
fn follow() -> Result<()> {
    let timeline = trace::take()?;
    print!("{timeline}");
    let path = trace::write(&timeline)?;
    println!("    {}", path.display());
    for (point, image) in [
        ("submit", "xenbench.sys"),
        ("queue", "xenbus.sys"),
        ("interrupt", "xenbus.sys"),
        ("demux", "xenbus.sys"),
        ("completion", "xenbench.sys"),
        ("done", "xenbench.sys"),
    ] {
        let found = timeline.image(point);
        ensure!(
            found == Some(image),
            "{point} is in {found:?}, not in {image}"
        );
    }
    ensure!(timeline.xenstored() > 0, "xenstored did nothing");
    Ok(())
}

fn check(run: &Run) -> Result<()> {
    let read = run.figure("read", 1)?;
    at_most("event sends of a read", read.sends, PER_READ)?;
    at_most("hypercalls of a read", read.hypercalls, PER_READ)?;
    at_most("pool blocks of a read", read.allocations, BLOCKS)?;
    let crowd = run.figure("reads", 64)?;
    at_most("event sends of a read, 64 awaited", crowd.sends, SENDS)?;
    at_most(
        "pool blocks of a read, 64 awaited",
        crowd.allocations,
        BLOCKS,
    )?;
    for (case, what) in [
        ("event-callback", "pool blocks of an event's callback"),
        ("event-poll", "pool blocks of an event's wait"),
    ] {
        let figure = run.figure(case, 0)?;
        ensure!(figure.instructions > 0.0, "{case} was not measured");
        at_most(what, figure.allocations, 0.0)?;
    }
    for (case, size) in [("grant", 1), ("watch", 16), ("event-poll-tasks", 16)] {
        let figure = run.figure(case, size)?;
        ensure!(figure.instructions > 0.0, "{case} was not measured");
    }
    println!(
        "    instructions of a read: {} ({READ} accepted)",
        read.instructions
    );
    ensure!(
        read.instructions <= READ * TOLERANCE,
        "a read takes {} instructions, {READ} are accepted: make it cheaper, or say why not and change READ in \
         tools/xtask/src/test/bench.rs",
        read.instructions
    );
    Ok(())
}
