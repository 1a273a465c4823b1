// SPDX-License-Identifier: BSD-2-Clause
//! The domain is saved, restored, and made to suspend in vain, with requests outstanding all the time.
//!
//! The child reads, writes and runs transactions without a pause, and serves what dom0 asks for by a watch: open an event channel,
//! bounce it. After each suspend the watch must still fire, a channel of before be dead (or alive, when the suspend was cancelled),
//! and a new one bounce.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rig::{Cache, GuestConfig, Rig, RigConfig, pack};

use super::Suite;
use crate::build::Flavor;
use crate::{run, util};

/// How long a step may take in the guest.
const LIMIT: Duration = Duration::from_secs(120);
/// Bounces of each channel.
const BOUNCES: u32 = 20;

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for (vcpus, hvm) in [(1, false), (4, false), (1, true), (4, true)] {
        let kind = if hvm { "HVM" } else { "PVH" };
        suite.step(
            &format!("suspend: save, restore and a cancelled one, {kind}, {vcpus} vCPU"),
            || whole(kernel, vcpus, hvm),
        );
    }
}

struct Guest<'a> {
    rig: &'a mut Rig,
    asked: u32,
}

impl Guest<'_> {
    /// Asks the child for something new and waits until it has done it.
    fn ask(&mut self, verb: &str, number: u32) -> Result<()> {
        self.tell(verb, number)?;
        self.rig
            .wait_log(&format!("^RESULT suspend.did {verb} {number}$"), LIMIT)?;
        Ok(())
    }

    fn tell(&mut self, verb: &str, number: u32) -> Result<()> {
        let domid = self.rig.domid()?;
        self.rig.dom0_ok(&format!(
            "xenstore-write /local/domain/{domid}/data/sample/ask '{verb} {number}'"
        ))?;
        Ok(())
    }

    /// A number that was not asked with yet.
    fn next(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// A new channel, bounced off dom0.
    fn open_and_bounce(&mut self) -> Result<u32> {
        let number = self.next();
        self.ask("open", number)?;
        self.bounce(number)?;
        Ok(number)
    }

    /// The channel opened as `number`. The count differs each time, so that it is something new.
    fn bounce(&mut self, number: u32) -> Result<()> {
        let domid = self.rig.domid()?;
        let count = BOUNCES + self.next();
        let port = format!("/local/domain/{domid}/data/sample/port-{number}");
        let mut peer = self.rig.spawn_dom0(
            &format!("xenpeer evtchn --domid {domid} --port $(xenstore-read {port}) --count {count} --timeout 60"),
            LIMIT,
        )?;
        // What the guest sends before is lost.
        peer.wait_line("bound", LIMIT)?;
        self.ask("bounce", count)?;
        peer.finish(LIMIT)?.ok("xenpeer evtchn")?;
        Ok(())
    }
}

fn feature(domid: u32) -> String {
    format!("/local/domain/{domid}/control/feature-suspend")
}

fn whole(kernel: &Path, vcpus: u32, hvm: bool) -> Result<()> {
    let mut rig = Rig::start(RigConfig {
        cache: Cache::new(),
        hvm,
        lifetime: Duration::from_secs(540),
        ..RigConfig::default()
    })?;
    let outcome = survive(&mut rig, kernel, vcpus, hvm);
    if outcome.is_err() {
        // What the guest's drivers know.
        let _ = rig.dom0("xl debug-keys q; sleep 2", LIMIT);
        for line in rig.guest_log()?.iter().rev().take(60).rev() {
            eprintln!("  {line}");
        }
    }
    outcome
}

fn survive(rig: &mut Rig, kernel: &Path, vcpus: u32, hvm: bool) -> Result<()> {
    let payload = run::payload(
        Flavor::Free,
        &format!("{}pnp_wait=500000\ntimeout=600\n", run::SAMPLE),
        "",
    )?;
    let domid = rig.create_guest(&GuestConfig {
        vcpus,
        hvm,
        paused: true,
        memory_mib: 96,
        ..GuestConfig::new(pack(&util::read(kernel)?, &payload)?)
    })?;
    let keys = |domid: u32| {
        format!(
            "P=/local/domain/{domid}; xenstore-write $P/device/sample/0/backend-id 0 $P/device/sample/0/nonce suspend \
             $P/data/sample '' $P/data/sample/scratch 0 && xenstore-chmod $P/data/sample n{domid} \
             && xenstore-chmod $P/data/sample/scratch n{domid}"
        )
    };
    rig.dom0_ok(&keys(domid))?;
    rig.unpause()?;
    rig.wait_log("^RESULT suspend ready", LIMIT)?;
    // The toolstack is heard.
    let heard = format!(
        "for i in $(seq 60); do [ \"$(xenstore-read {})\" = 1 ] && exit 0; sleep 1; done; exit 1",
        feature(domid)
    );
    rig.dom0(&heard, LIMIT)?.ok("control/feature-suspend")?;
    let mut guest = Guest {
        rig: &mut *rig,
        asked: 0,
    };
    guest.open_and_bounce()?;
    let mut last = 0;
    for round in 1..=2 {
        guest.rig.save_restore(keys)?;
        guest.rig.wait_log("suspend: resumed", LIMIT)?;
        let line = guest.rig.wait_log("^RESULT suspend.resumed ", LIMIT)?;
        ensure!(
            line == format!("RESULT suspend.resumed count={round} dead=true"),
            "{line}"
        );
        last = guest.open_and_bounce()?;
        let feature = guest
            .rig
            .dom0_ok(&format!("xenstore-read {}", feature(guest.rig.domid()?)))?;
        ensure!(
            feature.trim() == "1",
            "control/feature-suspend is {feature:?}"
        );
    }
    guest.rig.cancelled_suspend()?;
    guest.rig.wait_log("suspend: cancelled", LIMIT)?;
    // The channel of before is alive, and so is the watch.
    guest.bounce(last)?;

    let number = guest.next();
    guest.tell("end", number)?;
    let traffic = rig.wait_log("^RESULT suspend.traffic ", LIMIT)?;
    println!("    {traffic}");
    let last = rig.wait_log("^KERNEL: (done|failed)", LIMIT)?;
    ensure!(last.starts_with("KERNEL: done status=ok"), "{last}");
    Ok(())
}
