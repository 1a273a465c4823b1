// SPDX-License-Identifier: BSD-2-Clause
//! `--soak MINUTES`: everything at once for a long time, on four processors and the rig's ordinary clock, with dom0's transfers beside.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::lines;
use crate::build::{self, Flavor};
use crate::run::progress;
use crate::stress::{Adversary, Config, Session, System};

const VCPUS: u32 = 4;
const ID: u32 = 1;
/// Workers, of which a quarter transfers, and a quarter waits for watches.
const TASKS: u32 = 16;
/// Beyond the time asked for: boot, set-up, the last operations and the comparison.
const MARGIN: Duration = Duration::from_secs(600);
/// Between two lines of progress.
const STEP: Duration = Duration::from_secs(60);
/// Between every few transfers of dom0.
const PAUSE: Duration = Duration::from_secs(1);
/// Short requests in dom0, on a busy machine.
const REQUEST: Duration = Duration::from_secs(120);

/// Where the run and the accounts are, below the guest's home.
const ROOT: &str = "data/stress/soak";
const ACCOUNT_ROOT: &str = "data/stress/soak-accounts";

/// Runs it for so many minutes at `place`.
///
/// # Errors
///
/// Something can't be built, the rig can't run, or anything was lost or invented.
pub(super) fn run(place: &str, minutes: u32) -> Result<()> {
    let say = progress(Instant::now());
    build::images(Flavor::Free, &build::IMAGES)?;
    let time = Duration::from_secs(u64::from(minutes) * 60);
    let mut session = Session::start(&Config {
        system: System::Drivers(&Flavor::Free.dir()),
        vcpus: VCPUS,
        icount: false,
        limit: time + MARGIN,
        life: time + 2 * MARGIN,
    })?;
    session.rig.store_quota("transactions", TASKS)?;
    let (home, domid) = (session.home(), session.domid());
    let accounts = format!("{home}/{ACCOUNT_ROOT}");
    session.make_accounts(&accounts, domid)?;
    let line = format!(
        "profile=soak seconds={} tasks={TASKS} root={ROOT} accounts={ACCOUNT_ROOT}",
        time.as_secs()
    );
    // First: beside the guest's workers it might be long until some of its transfers are done.
    let mut adversary = Adversary::start(&session.rig, &accounts, PAUSE, time + MARGIN)?;
    session.begin(place, ID, &line)?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
        let log = session.rig.guest_log()?;
        let bad = log
            .iter()
            .find(|line| line.starts_with("RESULT stress.wrong") || line.starts_with("VERIFIER"));
        ensure!(bad.is_none(), "{}", bad.map_or("", String::as_str));
        // Worker 3 writes to one node all the time.
        let command = format!("xenpeer store read {home}/{ROOT}/t3");
        let value = session.rig.dom0(&command, REQUEST)?.text;
        let transfers = adversary.so_far()?;
        let value: String = value.chars().take_while(|letter| *letter != ':').collect();
        say(&format!(
            "worker.key.version {}; dom0's transfers: {}, conflicts of these: {}",
            value.trim(),
            transfers.done,
            transfers.conflicts
        ));
    }
    let lines = session.finish(ID)?;
    adversary.end(&session.rig)?;
    for line in lines.iter().filter(|line| !line.contains(" keys=")) {
        println!("{line}");
    }
    lines::run(&lines, ID)?;
    let workload = format!("id={ID} domain={domid} {line} accounts={accounts}");
    let said = session.check(&workload, &format!("{home}/{ROOT}"), &lines)?;
    println!("{}", said.trim());
    session.quit()?;
    say(&format!("{minutes} minutes, nothing lost"));
    Ok(())
}
