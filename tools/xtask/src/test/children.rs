// SPDX-License-Identifier: BSD-2-Clause
//! The children that test every interface: `cchild` through the C tables, `xenprobe` through the async wrappers.
//!
//! Each prints `TEST name ok` or `TEST name FAIL why`, and `RESULT name done` at its end; dom0's half is `xenpeer probe`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, pack};

use super::Suite;
use crate::build::{Flavor, cdriver};
use crate::{run, util};

/// How long a guest may run.
const LIMIT: Duration = Duration::from_secs(240);

/// A child: image, class in the store, and the fewest tests that it has.
struct Child {
    name: &'static str,
    class: &'static str,
    tests: usize,
}

const CHILDREN: [Child; 2] = [
    Child {
        name: "cchild",
        class: "cchild",
        tests: 31,
    },
    Child {
        name: "xenprobe",
        class: "probe",
        tests: 10,
    },
];

/// Name, vCPUs, HVM, checked.
const GUESTS: [(&str, u32, bool, bool); 4] = [
    ("PVH, 1 vCPU", 1, false, false),
    ("PVH, 4 vCPUs", 4, false, false),
    ("PVH, 4 vCPUs, checked drivers", 4, false, true),
    ("HVM, 4 vCPUs", 4, true, false),
];

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for child in &CHILDREN {
        for guest in GUESTS {
            suite.step(&format!("{}: {}", child.name, guest.0), || {
                test(kernel, child, guest)
            });
        }
    }
}

fn payload(child: &Child, flavor: Flavor) -> Result<Payload> {
    let boot = format!(
        "pnp=1\nattach_probe=1\nrelations_probe=xenbus\nuntil=RESULT {} done\npnp_wait=180000\ntimeout=200\n",
        child.name
    );
    let payload = run::payload(flavor, &boot, "")?;
    if !cdriver::CHILDREN.contains(&child.name) {
        return Ok(payload);
    }
    let file = format!("{}.sys", child.name);
    let image = util::read(&cdriver::children()?.join(&file))?;
    Ok(payload.driver(&file, image))
}

fn test(kernel: &Path, child: &Child, guest: (&str, u32, bool, bool)) -> Result<()> {
    let (_, vcpus, hvm, checked) = guest;
    let flavor = if checked {
        Flavor::Checked
    } else {
        Flavor::Free
    };
    let image = pack(&util::read(kernel)?, &payload(child, flavor)?)?;
    let mut rig = Rig::start(RigConfig {
        cache: Cache::new(),
        hvm,
        lifetime: LIMIT + Duration::from_secs(120),
        ..RigConfig::default()
    })?;
    let domid = rig.create_guest(&GuestConfig {
        vcpus,
        hvm,
        paused: true,
        ..GuestConfig::new(image)
    })?;
    let mut peer = rig.spawn_dom0(
        &format!(
            "xenpeer probe --domid {domid} --class {} --timeout 200",
            child.class
        ),
        LIMIT,
    )?;
    peer.wait_line("ready", Duration::from_secs(60))?;
    rig.unpause()?;
    let end = rig.wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT);
    let lines = rig.guest_log()?;
    check(
        child,
        end.context("the guest did not come to its end"),
        &lines,
    )
}

/// Every test passed, none is missing, and the drivers left nothing behind.
fn check(child: &Child, end: Result<String>, lines: &[String]) -> Result<()> {
    let tests: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("TEST "))
        .collect();
    let bad: Vec<&str> = tests
        .iter()
        .filter(|line| !line.ends_with(" ok"))
        .map(|line| line.as_str())
        .collect();
    if end
        .as_ref()
        .map_or(true, |line| !line.starts_with("KERNEL: done status=ok"))
        || !bad.is_empty()
    {
        for line in lines.iter().rev().take(60).rev() {
            eprintln!("  {line}");
        }
    }
    if !bad.is_empty() {
        bail!("{}", bad.join("; "));
    }
    let end = end?;
    ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
    ensure!(
        tests.len() >= child.tests,
        "{} ran {} tests, it has {}",
        child.name,
        tests.len(),
        child.tests
    );
    let early = lines
        .iter()
        .filter(|line| line.contains("a device in AddDevice answered"))
        .count();
    // The filter's, the bus's and the child's.
    ensure!(
        early >= 3,
        "only {early} devices were asked while they were added"
    );
    let left = lines.iter().find(|line| line.contains("outstanding"));
    ensure!(left.is_none(), "{left:?}");
    println!("    {}: {} tests", child.name, tests.len());
    Ok(())
}
