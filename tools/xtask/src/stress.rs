// SPDX-License-Identifier: BSD-2-Clause
//! A guest with `tools/xenstress`, or a Linux one with `xenpeer stress serve`, which runs the workloads that dom0 gives it: for tests and
//! benchmarks.

mod adversary;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, pack};
use workload::{ACCOUNTS, TOTAL};

use crate::build::{self, Flavor, check::set};
use crate::{package, util};
pub(crate) use adversary::{Adversary, Transfers};

/// What the guest runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum System<'a> {
    /// xen.sys, xenbus.sys and xenfilt.sys of a folder, and `xenstress.sys`.
    Drivers(&'a Path),
    /// Linux and its own client.
    Linux,
}

/// How the machine and the guest are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config<'a> {
    pub(crate) system: System<'a>,
    pub(crate) vcpus: u32,
    /// The clock counts instructions.
    pub(crate) icount: bool,
    /// How long the guest may take for one workload, by the wall clock.
    pub(crate) limit: Duration,
    /// All of the machine's life.
    pub(crate) life: Duration,
}

/// The guest. Workloads run one after the other; [`Self::quit`] ends it.
pub(crate) struct Session {
    pub(crate) rig: Rig,
    domid: u32,
    limit: Duration,
    /// The last line of a guest that ended well.
    end: &'static str,
}

/// A Linux guest's part.
const LINUX: &str = "exec xenpeer stress serve --device /dev/xen/xenbus";

/// How long dom0 may compare.
const COMPARISON: Duration = Duration::from_secs(300);

impl Session {
    /// Boots the guest; `xenstress.sys` and the test kernel are built if it runs them.
    ///
    /// # Errors
    ///
    /// Something is missing or can't be built, the rig can't run, or what runs the workloads does not start.
    pub(crate) fn start(config: &Config<'_>) -> Result<Self> {
        let cache = Cache::new();
        let (guest, device, end) = match config.system {
            System::Drivers(folder) => (
                GuestConfig::new(image(folder, config.life)?),
                " $P/device/stress/0/backend-id 0",
                "KERNEL: done status=ok",
            ),
            System::Linux => (GuestConfig::linux(&cache, LINUX)?, "", "LINUX: done code=0"),
        };
        let mut rig = Rig::start(RigConfig {
            cache,
            icount: config.icount,
            lifetime: config.life,
            ..RigConfig::default()
        })?;
        let domid = rig.create_guest(&GuestConfig {
            paused: true,
            vcpus: config.vcpus,
            ..guest
        })?;
        rig.dom0_ok(&format!(
            "P=/local/domain/{domid}; xenstore-write $P/data/stress/workload ''{device} \
             && xenstore-chmod $P/data/stress n{domid} && xenstore-chmod $P/data/stress/workload r0 r{domid}"
        ))?;
        rig.unpause()?;
        let mut session = Self {
            rig,
            domid,
            limit: config.limit,
            end,
        };
        session.wait("RESULT stress (ready|quit)")?;
        Ok(session)
    }

    /// The guest's home in the store.
    pub(crate) fn home(&self) -> String {
        format!("/local/domain/{}", self.domid)
    }

    pub(crate) fn domid(&self) -> u32 {
        self.domid
    }

    fn wait(&mut self, pattern: &str) -> Result<String> {
        let pattern = format!("^(KERNEL: failed|VERIFIER: |LINUX: |{pattern})");
        let line = self.rig.wait_log(&pattern, self.limit)?;
        ensure!(
            line.starts_with("RESULT"),
            "{line}\n{}",
            self.rig.guest_log()?.join("\n")
        );
        Ok(line)
    }

    fn say(&self, line: &str) -> Result<()> {
        let home = self.home();
        self.rig.dom0_ok(&format!(
            "xenstore-write {home}/data/stress/workload '{line}'"
        ))?;
        Ok(())
    }

    /// Gives the guest a workload; its number must be new. It runs while this returns.
    ///
    /// # Errors
    ///
    /// dom0 does not answer.
    pub(crate) fn begin(&self, place: &str, id: u32, workload: &str) -> Result<()> {
        let domid = self.domid;
        self.say(&format!("{place} id={id} domain={domid} {workload}"))
    }

    /// Waits for the end of workload `id` and returns its lines, whether or not all its checks held.
    ///
    /// # Errors
    ///
    /// The driver refused it, or did not come to its end.
    pub(crate) fn finish(&mut self, id: u32) -> Result<Vec<String>> {
        let end = self.wait(&format!(
            "RESULT stress(\\.done id={id}$|\\.refused |\\ quit)"
        ))?;
        if !end.starts_with("RESULT stress.done") {
            bail!("{end}");
        }
        let own = format!(" id={id} ");
        let mut lines = self.rig.guest_log()?;
        lines.retain(|line| line.starts_with("RESULT stress.") && line.contains(&own));
        lines.push(end);
        Ok(lines)
    }

    /// Has dom0 compare what a workload has left; see [`check`].
    ///
    /// # Errors
    ///
    /// Something is missing, wrong, or too much.
    pub(crate) fn check(&mut self, workload: &str, root: &str, lines: &[String]) -> Result<String> {
        check(&mut self.rig, workload, root, &lines.join("\n"))
    }

    /// Makes the accounts at `accounts`, whole and `owner`'s: two clients that both found none would make them at once.
    ///
    /// # Errors
    ///
    /// dom0 does not answer.
    pub(crate) fn make_accounts(&self, accounts: &str, owner: u32) -> Result<()> {
        let share = TOTAL / u64::from(ACCOUNTS);
        let each = (0..ACCOUNTS).map(|account| format!(" {accounts}/a{account} {share}"));
        let each: String = each.collect();
        self.rig.dom0_ok(&format!(
            "xenstore-write{each} && xenstore-chmod -r {accounts} n{owner}"
        ))?;
        Ok(())
    }

    /// Ends the guest, which must stop what it runs without a complaint.
    ///
    /// # Errors
    ///
    /// It does not, or the verifier has found something.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.say("quit")?;
        let end = self
            .rig
            .wait_log("^(KERNEL: (done|failed)|VERIFIER: |LINUX: )", self.limit)?;
        ensure!(end.starts_with(self.end), "{end}");
        Ok(())
    }
}

/// The test kernel with `xenstress.sys` and the drivers of `folder`, whose machine lives so long.
fn image(folder: &Path, life: Duration) -> Result<Vec<u8>> {
    let kernel = build::test_kernel().context("the test kernel")?;
    build::images(Flavor::Free, &["xenstress"])?;
    let boot = format!(
        "pnp=1\nuntil=RESULT stress quit\npnp_wait={}\ntimeout={}\n",
        life.as_millis(),
        life.as_secs()
    );
    let mut payload = Payload::new()
        .boot(&boot)
        .registry(&package::rig_registry()?);
    for file in set::SET {
        payload = payload.driver(file, util::read(&folder.join(file))?);
    }
    let child = util::read(&Flavor::Free.dir().join("xenstress.sys"))?;
    let payload = payload.driver("xenstress.sys", child);
    Ok(pack(&util::read(&kernel)?, &payload)?)
}

/// Has dom0 compare what a workload has left below `root` with the model in the run's `lines`; what it says. `workload` has the
/// paths of dom0.
///
/// # Errors
///
/// Something is missing, wrong, or too much.
pub(crate) fn check(rig: &mut Rig, workload: &str, root: &str, lines: &str) -> Result<String> {
    rig.upload(&[("model", lines.as_bytes())])?;
    let command =
        format!("xenpeer stress check --root {root} --workload '{workload}' --model /job/model");
    Ok(rig.dom0(&command, COMPARISON)?.ok(&command)?)
}
