// SPDX-License-Identifier: BSD-2-Clause
//! Place `linux`: the same workloads as a process in a Linux guest, over `/dev/xen/xenbus`, in one boot.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::{Cache, GuestConfig, Rig, RigConfig};

use super::lines::{self, Run};
use super::plan::{Beside, Planned};
use crate::stress;

/// Of the whole boot by the wall clock, and of the machine, whose clock jumps while nothing happens.
const LIMIT: Duration = Duration::from_secs(900);
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// Nodes and open transactions that the guest may have: what one workload leaves is compared at the end.
const QUOTAS: [(&str, u32); 2] = [("nodes", 100_000), ("transactions", 512)];

/// Whether a workload needs nothing from dom0 while it runs.
pub(super) fn takes(planned: &Planned) -> bool {
    planned.beside == Beside::Nothing && planned.quotas.is_empty()
}

fn line(planned: &Planned, id: u32) -> String {
    format!(
        "id={id} {} root=data/stress/r{id} accounts=data/stress/a{id}",
        planned.line
    )
}

/// Runs every workload of `plan` that it [takes], `rounds` times, and has dom0 compare what they leave; by index in `plan`.
///
/// # Errors
///
/// The guest does not boot or does not come to its end, or anything was wrong.
pub(super) fn run(plan: &[Planned], rounds: usize) -> Result<Vec<(usize, Run)>> {
    let own: Vec<_> = (0..rounds)
        .flat_map(|_| {
            plan.iter()
                .enumerate()
                .filter(|(_, planned)| takes(planned))
        })
        .zip(1..)
        .collect();
    let script: String = own
        .iter()
        .map(|((_, planned), id)| {
            let line = line(planned, *id);
            format!("xenpeer stress run --device /dev/xen/xenbus '{line}' || exit 1\n")
        })
        .collect();
    let cache = Cache::new();
    let guest = GuestConfig::linux(&cache, &script)?;
    let mut rig = Rig::start(RigConfig {
        cache,
        icount: true,
        lifetime: LIFE,
        ..RigConfig::default()
    })?;
    for (what, value) in QUOTAS {
        rig.store_quota(what, value)?;
    }
    let domid = rig.create_guest(&guest)?;
    let home = format!("/local/domain/{domid}");
    let last = rig.wait_log("^LINUX: done", LIMIT)?;
    let log = rig.guest_log()?;
    ensure!(last == "LINUX: done code=0", "{last}\n{}", log.join("\n"));
    let mut runs = Vec::new();
    for ((index, planned), id) in own {
        let name = &planned.name;
        let run = lines::run(&log, id).with_context(|| format!("linux, {name}"))?;
        let word = format!(" id={id} ");
        let own: Vec<&str> = log
            .iter()
            .map(String::as_str)
            .filter(|line| line.contains(&word))
            .collect();
        let (root, line) = (format!("{home}/data/stress/r{id}"), line(planned, id));
        let seen = format!("{line} domain={domid} accounts={home}/data/stress/a{id}");
        stress::check(&mut rig, &seen, &root, &own.join("\n"))
            .with_context(|| format!("linux, {name}"))?;
        runs.push((index, run));
    }
    Ok(runs)
}
