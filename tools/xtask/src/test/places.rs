// SPDX-License-Identifier: BSD-2-Clause
//! Workloads (`tools/workload`) as Linux processes: in dom0 over xenstored's socket, in a Linux guest over `/dev/xen/xenbus`; what they
//! leave in the store is compared with their models. Xen's own test of xenstored runs beside.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::{Cache, GuestConfig, Rig, RigConfig};

use super::Suite;
use crate::stress::{Adversary, Transfers, check};

/// Generous: the machine that emulates may be busy with something else.
const LIMIT: Duration = Duration::from_secs(240);

/// Between every few transfers of dom0.
const PAUSE: Duration = Duration::from_millis(20);

/// A short run of each profile.
const SHORT: [&str; 8] = [
    "profile=latency count=200",
    "profile=throughput count=400",
    "profile=transactions count=40 tasks=4",
    "profile=watches count=100",
    "profile=directory count=50",
    "profile=mixed count=200",
    "profile=soak count=400",
    "profile=hostile count=200",
];

pub(super) fn steps(suite: &mut Suite<'_>) {
    suite.step("stress: every profile in dom0, and what it leaves", dom0);
    suite.step("stress: a Linux guest, with dom0 as its adversary", linux);
}

fn start() -> Result<Rig> {
    Ok(Rig::start(RigConfig {
        cache: Cache::new(),
        icount: true,
        lifetime: Duration::from_secs(600),
        ..RigConfig::default()
    })?)
}

/// Runs a workload in dom0; its lines, of which the last says that all checks held.
pub(crate) fn run_in_dom0(rig: &Rig, root: &str, workload: &str) -> Result<String> {
    let command = format!("xenpeer stress run --root {root} '{workload}'");
    let lines = rig.dom0(&command, LIMIT)?.ok(workload)?;
    ensure!(lines.contains(" status=ok "), "{workload}: {lines}");
    print(&lines);
    Ok(lines)
}

/// Prints the line that sums a run up.
fn print(lines: &str) {
    for line in lines.lines().filter(|line| line.contains("stress.run ")) {
        println!("    {line}");
    }
}

fn dom0() -> Result<()> {
    let mut rig = start()?;
    for (number, workload) in SHORT.into_iter().enumerate() {
        let root = format!("/stress/{number}");
        let lines = run_in_dom0(&rig, &root, workload)?;
        check(&mut rig, workload, &root, &lines)?;
    }
    for test in rig.store_test(10)? {
        println!(
            "    test-xenstore: {:<10} {} instructions, at best {}",
            test.name, test.average, test.least
        );
    }
    let (root, workload) = ("/stress/beside", "profile=mixed count=200 seed=2");
    let load = rig.store_load(60)?;
    let lines = run_in_dom0(&rig, root, workload)?;
    rig.end_store_load(load)?;
    check(&mut rig, workload, root, &lines)?;
    differences(&mut rig)
}

/// A tree that somebody else has changed must be told from the model's.
fn differences(rig: &mut Rig) -> Result<()> {
    let (root, workload) = ("/stress/changed", "profile=latency count=1 mix=read:1");
    let lines = run_in_dom0(rig, root, workload)?;
    check(rig, workload, root, &lines)?;
    rig.dom0_ok(&format!(
        "xenstore-write {root}/t0/k0 other {root}/t0/more 1; xenstore-rm {root}/t0/k1; xenstore-chmod {root}/t0/k2 r0 b7"
    ))?;
    let found = check(rig, workload, root, &lines)
        .err()
        .context("nothing was found in a tree that is not the model's")?
        .to_string();
    for what in [
        "wrong: {}/t0/k0 is \"other\"",
        "extra: {}/t0/more",
        "missing: {}/t0/k1 ",
        "wrong: {}/t0/k2 has permissions",
    ] {
        let what = what.replace("{}", root);
        ensure!(found.contains(&what), "not found: {what} in {found}");
    }
    Ok(())
}

fn linux() -> Result<()> {
    let workload = "id=1 profile=mixed tasks=8 count=200 seconds=1 accounts=data/stress/shared";
    let script = format!("echo begin; xenpeer stress run --device /dev/xen/xenbus '{workload}'");
    let guest = GuestConfig::linux(&Cache::new(), &script)?;
    let mut rig = start()?;
    let domid = rig.create_guest(&guest)?;
    let home = format!("/local/domain/{domid}/data/stress");
    // Not before: it would take the booting kernel's time.
    rig.wait_log("^begin", LIMIT)?;
    let adversary = Adversary::start(&rig, &format!("{home}/shared"), PAUSE, LIMIT)?;
    let last = rig.wait_log("^LINUX: done", LIMIT)?;
    let Transfers { done, conflicts } = adversary.end(&rig)?;
    println!("    {done} transfers of dom0, {conflicts} conflicts of these");
    let lines = rig.guest_log()?.join("\n");
    print(&lines);
    ensure!(last == "LINUX: done code=0", "{lines}");
    rig.wait_shutdown(LIMIT)?;
    let seen = format!("{workload} domain={domid} accounts={home}/shared");
    let said = check(&mut rig, &seen, &format!("{home}/run"), &lines)?;
    println!("    {}", said.trim());
    rig.destroy()?;
    Ok(())
}
