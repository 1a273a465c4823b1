// SPDX-License-Identifier: BSD-2-Clause
//! The echo child: a frontend whose backends close, die in the middle, are started anew and moved while messages are on their way.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::{Cache, GuestConfig, Job, Rig, RigConfig, pack};

use super::Suite;
use super::footprint::Footprint;
use crate::build::Flavor;
use crate::{run, util};

/// How long a step may take in the guest.
const LIMIT: Duration = Duration::from_secs(120);
/// Messages of a backend that comes to its end.
const MESSAGES: u32 = 2000;
/// The bus hides its asynchronous store.
const HIDDEN: &str = "V\t\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenbus\\Parameters\tAsyncStore\tdword\t0\n";
/// Messages that never end.
const ENDLESS: u32 = u32::MAX;

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for vcpus in [1, 4] {
        let name = format!("xenecho: backend closes, dies, starts anew and is moved, {vcpus} vCPU");
        suite.step(&name, || {
            let machine = Machine::start(kernel, Flavor::Free, vcpus, false, "")?;
            machine.play(Machine::trouble).map(drop)
        });
        let name = format!("xenecho: saved and restored to another backend, {vcpus} vCPU");
        suite.step(&name, || {
            let machine = Machine::start(kernel, Flavor::Free, vcpus, false, "")?;
            machine.play(Machine::restored).map(drop)
        });
        let name = format!("xenecho: the same over the published store, {vcpus} vCPU");
        suite.step(&name, || {
            let machine = Machine::start(kernel, Flavor::Free, vcpus, false, HIDDEN)?;
            let lines = machine.play(Machine::trouble)?;
            let said = lines
                .iter()
                .any(|line| line.contains("has no XENBUS_ASYNC_STORE"));
            ensure!(
                said,
                "the child has not said that it uses the published store"
            );
            Ok(())
        });
    }
}

/// One connection to one backend, for `cargo xtask run --child xenecho`.
///
/// # Errors
/// The rig cannot start, or one of the two ends is not content.
pub(crate) fn once(kernel: &Path, flavor: Flavor, vcpus: u32, hvm: bool) -> Result<()> {
    let machine = Machine::start(kernel, flavor, vcpus, hvm, "")?;
    let once = |machine: &mut Machine| machine.connected(&format!("--messages {MESSAGES} --last"));
    machine.play(once).map(drop)
}

struct Machine {
    rig: Rig,
    domid: u32,
    before: Footprint,
    connections: u32,
}

impl Machine {
    /// A guest that has not run yet.
    fn start(kernel: &Path, flavor: Flavor, vcpus: u32, hvm: bool, registry: &str) -> Result<Self> {
        let boot = "pnp=1\nuntil=RESULT xenecho done\npnp_wait=400000\ntimeout=500\n";
        let payload = run::payload(flavor, boot, registry)?;
        let image = pack(&util::read(kernel)?, &payload)?;
        let mut rig = Rig::start(RigConfig {
            cache: Cache::new(),
            hvm,
            lifetime: Duration::from_secs(540),
            ..RigConfig::default()
        })?;
        let domid = rig.create_guest(&GuestConfig {
            vcpus,
            hvm,
            paused: true,
            // dom0 has room for that when it is saved.
            memory_mib: 96,
            ..GuestConfig::new(image)
        })?;
        let before = Footprint::take(&mut rig)?;
        Ok(Self {
            rig,
            domid,
            before,
            connections: 0,
        })
    }

    /// Starts a backend; the guest too with the first one.
    fn backend(&mut self, options: &str) -> Result<Job> {
        let command = format!(
            "xenpeer echo --domid {} --timeout 300 {options}",
            self.domid
        );
        let mut job = self.rig.spawn_dom0(&command, LIMIT * 4)?;
        job.wait_line("ready", LIMIT)?;
        if self.connections == 0 {
            self.rig.unpause()?;
        }
        Ok(job)
    }

    /// One that gets as far as a connection.
    fn connected(&mut self, options: &str) -> Result<Job> {
        let mut job = self.backend(options)?;
        job.wait_line("connected", LIMIT)?;
        self.connections += 1;
        Ok(job)
    }

    /// Waits until the guest has bounced all messages of the last backend.
    fn bounced(&mut self) -> Result<()> {
        let line = format!(
            "^RESULT xenecho.connection {} messages={MESSAGES}$",
            self.connections
        );
        self.rig.wait_log(&line, LIMIT)?;
        Ok(())
    }

    fn disconnected(&mut self) -> Result<()> {
        let line = format!("^RESULT xenecho.disconnected {}$", self.connections);
        self.rig.wait_log(&line, LIMIT)?;
        Ok(())
    }

    /// Kills a backend: the guest is told nothing.
    fn kill(&mut self, mut job: Job) -> Result<()> {
        self.rig.kill_dom0(&job)?;
        let _ = job.finish(LIMIT)?;
        Ok(())
    }

    /// What can happen to a backend; the last one.
    fn trouble(&mut self) -> Result<Job> {
        // Dies when all is quiet.
        let first = self.connected(&format!("--messages {MESSAGES}"))?;
        self.bounced()?;
        self.kill(first)?;
        // Is started anew: a connection of its own. Dies with messages on their way.
        let second = self.connected(&format!("--messages {ENDLESS}"))?;
        sleep(Duration::from_millis(500));
        self.kill(second)?;
        // Dies in the middle of the handshake.
        let mut third = self.backend("--hold")?;
        third.wait_line("held", LIMIT)?;
        self.kill(third)?;
        // Closes in order with messages on their way.
        let mut fourth = self.connected(&format!(
            "--messages {ENDLESS} --batch 5 --close-after 1001"
        ))?;
        fourth.finish(LIMIT)?.ok("the backend that closes")?;
        self.disconnected()?;
        // Another one elsewhere: the device is moved. It dies as well.
        let fifth = self.connected(&format!("--name echo-b --messages {MESSAGES} --nonce 7"))?;
        self.bounced()?;
        self.kill(fifth)?;
        // Moved back, away from a dead one.
        self.connected(&format!("--messages {MESSAGES} --last"))
    }

    /// Saved while connected, and restored as another domain with another backend.
    fn restored(&mut self) -> Result<Job> {
        const LOG: &str = "/run/echo.log";
        let first = self.connected(&format!("--messages {MESSAGES}"))?;
        self.bounced()?;
        let heard = format!(
            "until [ \"$(xenstore-read /local/domain/{}/control/feature-suspend)\" = 1 ]; do sleep 1; done",
            self.domid
        );
        let heard = self.rig.dom0(&heard, Duration::from_secs(60))?;
        heard.ok("control/feature-suspend")?;
        self.domid = self.rig.save_restore(|domid| {
            format!(
                "xenpeer echo --domid {domid} --messages {MESSAGES} --nonce 9 --last --timeout 300 > {LOG} 2>&1 & \
                 until grep -q ready {LOG}; do usleep 100000; done"
            )
        })?;
        self.kill(first)?;
        self.connections += 1;
        self.bounced()?;
        let verdict =
            format!("until grep '^PEER' {LOG}; do usleep 100000; done; grep -q '^PEER ok' {LOG}");
        Ok(self.rig.spawn_dom0(&verdict, LIMIT * 2)?)
    }

    /// Plays `story`, lets the last backend and the guest come to their ends, and looks for what is left. The guest's lines.
    fn play(mut self, story: impl FnOnce(&mut Self) -> Result<Job>) -> Result<Vec<String>> {
        let outcome = self.whole(story);
        if outcome.is_err() {
            for line in self.rig.guest_log()?.iter().rev().take(60).rev() {
                eprintln!("  {line}");
            }
            // Where the two ends stand, and which backends run; what Xen knows of events, domains and processors.
            let seen = self.rig.host_log()?.len();
            let look = "xenstore-ls /local/domain/0/backend; xenstore-ls /local/domain/$(xl domid guest)/device; ps | grep xenpeer; \
                        for key in e q r; do xl debug-keys $key; done";
            if let Ok(said) = self.rig.dom0(look, LIMIT) {
                eprintln!("{}", said.text);
                // Nothing marks the end of what Xen prints.
                sleep(Duration::from_secs(3));
                for line in &self.rig.host_log()?[seen..] {
                    eprintln!("  {line}");
                }
            }
        }
        outcome
    }

    fn whole(&mut self, story: impl FnOnce(&mut Self) -> Result<Job>) -> Result<Vec<String>> {
        let mut last = story(self)?;
        let end = self
            .rig
            .wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT * 2);
        let end = end.context("the guest did not come to its end")?;
        ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
        last.finish(LIMIT)?.ok("the last backend")?;
        let lines = self.rig.guest_log()?;
        ensure!(
            lines.iter().any(|line| line == "RESULT xenecho.end Closed"),
            "the frontend did not close"
        );
        for bad in ["outstanding", "leaked", "while in use"] {
            let left = lines.iter().find(|line| line.contains(bad));
            ensure!(left.is_none(), "{left:?}");
        }
        let after = Footprint::take(&mut self.rig)?;
        ensure!(
            after == self.before,
            "dom0 sees something left: before {:?}, after {after:?}",
            self.before
        );
        for line in lines
            .iter()
            .filter(|line| line.starts_with("RESULT xenecho."))
        {
            println!("    {line}");
        }
        println!("    left behind, as Xen and xenstored see it: {after:?}");
        Ok(lines)
    }
}
