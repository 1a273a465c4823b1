// SPDX-License-Identifier: BSD-2-Clause
//! The test kernel against drivers written in C: those that use every export as NT means it, and the wrong ones, each of which has
//! to be caught by the rule that it breaks. And our own drivers off Xen, where they must load, say so once, and stay inert.
//!
//! The wrong drivers and the off-Xen boot run in a plain QEMU; the right ones on Xen as well.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, Payload, Rig, RigConfig, pack, plain};

use super::Suite;
use super::faults::boot;
use crate::build::Flavor;
use crate::build::cdriver::{self, RIGHT, WRONG};
use crate::{run, util};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    let folder = match cdriver::build() {
        Ok(folder) => folder,
        Err(error) => return suite.step("C drivers: build", || bail!("{error:#}")),
    };
    for vcpus in [1, 4] {
        for &(name, how, end) in RIGHT {
            suite.step(
                &format!("C driver {name}, plain QEMU, {vcpus} vCPU"),
                || right(kernel, &folder, (name, how, end), vcpus, false),
            );
            suite.step(&format!("C driver {name}, on Xen, {vcpus} vCPU"), || {
                right(kernel, &folder, (name, how, end), vcpus, true)
            });
        }
    }
    suite.step("C drivers: every broken rule is caught by name", || {
        broken_rules(kernel, &folder)
    });
    for vcpus in [1, 4] {
        suite.step(
            &format!("off Xen: our drivers load inert, {vcpus} vCPU"),
            || off_xen(kernel, vcpus),
        );
    }
}

/// One C driver, with the registry that it needs.
fn payload(folder: &Path, name: &str, boot: &str) -> Result<Payload> {
    let file = format!("{name}.sys");
    let image = util::read(&folder.join(&file))?;
    Ok(Payload::new()
        .boot(boot)
        .registry(&cdriver::registry(name))
        .driver(&file, image))
}

fn run_plain(kernel: &Path, payload: &Payload, vcpus: u32) -> Result<Vec<String>> {
    let image = pack(&util::read(kernel)?, payload)?;
    Ok(plain(&Cache::new(), &image, vcpus, LIMIT)?)
}

fn last_line(lines: &[String]) -> Result<&str> {
    let last = lines
        .iter()
        .rev()
        .find(|line| line.starts_with("KERNEL: done") || line.starts_with("KERNEL: failed"));
    last.map(String::as_str)
        .context("the kernel has no last line")
}

/// `driver`: its name, boot.cfg, and the test that it passes last.
fn right(
    kernel: &Path,
    folder: &Path,
    driver: (&str, &str, &str),
    vcpus: u32,
    xen: bool,
) -> Result<()> {
    let (name, how, end) = driver;
    let payload = payload(folder, name, how)?;
    let lines = if xen {
        let mut rig = Rig::start(RigConfig {
            cache: Cache::new(),
            ..RigConfig::default()
        })?;
        boot(&mut rig, kernel, &payload, vcpus)?
    } else {
        run_plain(kernel, &payload, vcpus)?
    };
    let tests: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("TEST "))
        .collect();
    if let Some(bad) = tests.iter().find(|line| !line.ends_with(" ok")) {
        bail!("{bad}");
    }
    let last = last_line(&lines)?;
    ensure!(last.starts_with("KERNEL: done status=ok"), "{last}");
    ensure!(
        tests.iter().any(|line| *line == end),
        "{name} did not come to {end:?}"
    );
    println!("    {name}: {} tests", tests.len());
    Ok(())
}

/// Boots every wrong driver, as many at a time as there are processors, and prints the table.
fn broken_rules(kernel: &Path, folder: &Path) -> Result<()> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((name, rule, call)) = WRONG.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let row = caught(kernel, folder, name, rule, call);
                    rows.lock().expect("no panic").push((*name, *rule, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no panic");
    rows.sort_by_key(|row| row.0);
    let mut wrong = Vec::new();
    for (name, rule, row) in rows {
        match row {
            Ok(line) => println!("    {rule:<24} {name:<22} {line}"),
            Err(error) => wrong.push(format!("{name} ({rule}): {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

fn caught(kernel: &Path, folder: &Path, name: &str, rule: &str, call: &str) -> Result<String> {
    let payload = payload(folder, name, &cdriver::wrong_boot(name, rule))?;
    let lines = run_plain(kernel, &payload, 1)?;
    let wanted = cdriver::wrong_line(name, rule, call);
    let said = lines.iter().find(|line| line.starts_with("VERIFIER: "));
    let Some(line) = said.filter(|line| format!("{line} ").starts_with(&wanted)) else {
        bail!(
            "{wanted:?} wanted, the kernel said {said:?}, {}",
            last_line(&lines).unwrap_or("and has no last line")
        );
    };
    let last = last_line(&lines)?;
    ensure!(
        last.starts_with("KERNEL: done status=ok"),
        "caught, but {last}"
    );
    Ok(line.clone())
}

/// The whole package on a machine that is not Xen's: everything loads, nothing attaches, the machine comes up.
fn off_xen(kernel: &Path, vcpus: u32) -> Result<()> {
    let payload = run::payload(Flavor::Free, "pnp=1\npnp_wait=500\n", "")?;
    let lines = run_plain(kernel, &payload, vcpus)?;
    let last = last_line(&lines)?;
    ensure!(last.starts_with("KERNEL: done status=ok"), "{last}");
    for wanted in [
        "xen: not running on Xen, staying inert",
        "xenbus: not on Xen, staying inert",
        "xenfilt: not on Xen, staying inert",
    ] {
        let count = lines.iter().filter(|line| line.contains(wanted)).count();
        ensure!(count == 1, "{wanted:?} was printed {count} times");
    }
    for name in ["xenbus", "XENFILT"] {
        let entry = format!("KERNEL: driver {name}: DriverEntry returned 0x0");
        ensure!(lines.contains(&entry), "no {entry:?}");
    }
    ensure!(
        !lines
            .iter()
            .any(|line| line.contains("xenbus: active") || line.contains("xenfilt: attached")),
        "something was attached"
    );
    Ok(())
}
