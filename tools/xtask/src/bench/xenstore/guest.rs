// SPDX-License-Identifier: BSD-2-Clause
//! A guest with `tools/xenstress`, or a Linux one, on the rig's instruction clock, and dom0's client beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rig::{StoreLoad, StoreTest};

use super::lines::{self, Run};
use super::plan::{Beside, Planned};
use super::report::Facts;
use crate::build::{Flavor, check::set};
use crate::stress::{Adversary, Config, Session, System, Transfers};

/// Where a workload runs in a guest with drivers.
pub(super) const PLACES: [&str; 2] = ["async", "vtable"];
/// The place of a process in a Linux guest.
const LINUX: &str = "linux";
/// How long a workload may take by the wall clock.
const LIMIT: Duration = Duration::from_secs(300);
/// Of the machine and the guest, whose clock jumps while nothing happens.
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// Open transactions that a guest may have: one of each worker.
const TRANSACTIONS: u32 = 512;
/// Between every few transfers of dom0 beside a guest's, or another process's.
const PAUSE: Duration = Duration::from_millis(5);
/// Seconds of virtual time after which Xen's own test would end by itself.
const LOAD: u32 = 600;
/// Requests of each kind of Xen's own test.
const ITERATIONS: u32 = 20;

/// Who runs the workloads in a guest.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// Before the names of its places; nothing for ours.
    pub(super) prefix: &'static str,
    /// Its places.
    pub(super) places: &'static [&'static str],
    /// Whether dom0 runs them too, after each of its places.
    pub(super) with_dom0: bool,
    system: Which,
}

#[derive(Clone, Debug)]
enum Which {
    Drivers(PathBuf),
    Linux,
}

impl Set {
    /// Whether it is the Linux guest.
    pub(super) fn is_linux(&self) -> bool {
        matches!(self.system, Which::Linux)
    }

    /// The drivers that this tree builds, which dom0's client runs beside.
    pub(super) fn ours() -> Self {
        Self {
            prefix: "",
            places: &PLACES,
            with_dom0: true,
            system: Which::Drivers(Flavor::Free.dir()),
        }
    }

    /// Another set of drivers, which has passed its checks.
    ///
    /// # Errors
    ///
    /// It cannot run here.
    pub(super) fn other(folder: &Path) -> Result<Self> {
        set::set(folder).context("--drivers")?;
        Ok(Self {
            prefix: "other-",
            places: &PLACES,
            with_dom0: false,
            system: Which::Drivers(folder.to_owned()),
        })
    }

    /// Linux, with a process over `/dev/xen/xenbus`.
    pub(super) fn linux() -> Self {
        Self {
            prefix: "",
            places: &[LINUX],
            with_dom0: false,
            system: Which::Linux,
        }
    }
}

/// What runs beside a workload.
enum Other {
    Transfers(Adversary),
    XenTest(StoreLoad),
}

/// The guest, ready for workloads.
pub(super) struct Guest {
    session: Session,
    /// Number of the next workload.
    next: u32,
    /// What dom0's transfers beside workloads have come to.
    pub(super) transfers: Transfers,
}

impl Guest {
    /// Boots a guest with what `set` has.
    ///
    /// # Errors
    ///
    /// The rig can't run, or what runs the workloads does not come up.
    pub(super) fn boot(set: &Set, vcpus: u32) -> Result<Self> {
        let session = Session::start(&Config {
            system: match &set.system {
                Which::Drivers(folder) => System::Drivers(folder),
                Which::Linux => System::Linux,
            },
            vcpus,
            icount: true,
            limit: LIMIT,
            life: LIFE,
        })?;
        Ok(Self {
            session,
            next: 1,
            transfers: Transfers::default(),
        })
    }

    /// Lets every worker have a transaction open, from now on.
    ///
    /// # Errors
    ///
    /// dom0 does not answer.
    pub(super) fn allow_transactions(&self) -> Result<()> {
        let quota = self.session.rig.store_quota("transactions", TRANSACTIONS);
        Ok(quota?)
    }

    fn number(&mut self) -> u32 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Runs a workload in the guest, at `place`, and has dom0 compare the tree that it leaves with the model.
    ///
    /// # Errors
    ///
    /// It does not end, or anything was wrong.
    pub(super) fn run(&mut self, place: &str, planned: &Planned) -> Result<Run> {
        let (id, home) = (self.number(), self.session.home());
        let root = format!("data/stress/r{id}");
        let accounts = format!("data/stress/a{id}");
        let absolute = format!("{home}/{accounts}");
        self.set_quotas(planned, true)?;
        let other = self.begin_beside(planned, &absolute, self.session.domid())?;
        let line = format!("{} root={root} accounts={accounts}", planned.line);
        self.session.begin(place, id, &line)?;
        let lines = self.session.finish(id)?;
        let run = lines::run(&lines, id)?;
        self.end_beside(other)?;
        self.set_quotas(planned, false)?;
        let domid = self.session.domid();
        let line = format!("id={id} domain={domid} {line} accounts={absolute}");
        self.check(&line, &format!("{home}/{root}"), &absolute, &lines)?;
        Ok(run)
    }

    /// Runs the same workload in dom0.
    ///
    /// # Errors
    ///
    /// As for [`Guest::run`].
    pub(super) fn run_in_dom0(&mut self, planned: &Planned) -> Result<Run> {
        let id = self.number();
        let (root, accounts) = (format!("/stress/r{id}"), format!("/stress/a{id}"));
        let line = format!(
            "id={id} domain=0 {} root={root} accounts={accounts}",
            planned.line
        );
        let other = self.begin_beside(planned, &accounts, 0)?;
        let command = format!("xenpeer stress run '{line}'");
        let said = self.session.rig.dom0(&command, LIMIT)?;
        let lines: Vec<String> = said.text.lines().map(str::to_owned).collect();
        let run = lines::run(&lines, id).with_context(|| command.clone())?;
        said.ok(&command)?;
        self.end_beside(other)?;
        self.check(&line, &root, &accounts, &lines)?;
        Ok(run)
    }

    /// Has dom0 compare what a workload has left with the model in `lines`, and removes it.
    fn check(&mut self, line: &str, root: &str, accounts: &str, lines: &[String]) -> Result<()> {
        self.session.check(line, root, lines)?;
        // Not every workload has them.
        let remove = format!("xenstore-rm {root} {accounts} || true");
        self.session.rig.dom0_ok(&remove)?;
        Ok(())
    }

    /// Sets the limits of xenstored that a workload is to have, or sets them back.
    fn set_quotas(&self, planned: &Planned, wanted: bool) -> Result<()> {
        for &(what, during, usual) in planned.quotas {
            let value = if wanted { during } else { usual };
            self.session.rig.store_quota(what, value)?;
        }
        Ok(())
    }

    /// Starts what runs beside a workload; the accounts are at `accounts` and `owner`'s.
    fn begin_beside(&self, planned: &Planned, accounts: &str, owner: u32) -> Result<Option<Other>> {
        match planned.beside {
            Beside::Nothing => Ok(None),
            Beside::Transfers => {
                self.session.make_accounts(accounts, owner)?;
                let adversary = Adversary::start(&self.session.rig, accounts, PAUSE, LIMIT)?;
                Ok(Some(Other::Transfers(adversary)))
            }
            Beside::XenTest => Ok(Some(Other::XenTest(self.session.rig.store_load(LOAD)?))),
        }
    }

    /// Ends what runs beside a workload, which must have gone well until then.
    fn end_beside(&mut self, other: Option<Other>) -> Result<()> {
        match other {
            None => {}
            Some(Other::Transfers(adversary)) => {
                self.transfers += adversary.end(&self.session.rig)?;
            }
            Some(Other::XenTest(load)) => self.session.rig.end_store_load(load)?,
        }
        Ok(())
    }

    /// Xen's own test, which tells what xenstored itself can do.
    ///
    /// # Errors
    ///
    /// It fails.
    pub(super) fn xen_test(&self) -> Result<Vec<StoreTest>> {
        Ok(self.session.rig.store_test(ITERATIONS)?)
    }

    /// Lets the guest and the machine end in good order.
    ///
    /// # Errors
    ///
    /// The guest does not end well.
    pub(super) fn quit(self) -> Result<()> {
        self.session.quit()
    }

    /// What runs here, for the report.
    ///
    /// # Errors
    ///
    /// dom0 does not answer.
    pub(super) fn facts(&self) -> Result<Facts> {
        let rig = &self.session.rig;
        let xen = rig.dom0_ok("xl info | sed -n 's/^xen_version *: //p'")?;
        let linux = rig.dom0_ok("uname -r")?;
        Ok(vec![
            ("Xen and xenstored", xen.trim().to_owned()),
            ("dom0's Linux", linux.trim().to_owned()),
        ])
    }
}
