// SPDX-License-Identifier: BSD-2-Clause
//! What goes wrong outside, and what must happen then.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, pack};

use super::Suite;
use crate::build::Flavor;
use crate::{run, util};

/// The store's time-out, shorter than the 30 s that a machine in service waits.
const TIMEOUT: &str = "V\t\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenbus\\Parameters\tStoreTimeoutMs\tdword\t5000\n";
/// How long a guest may run.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    suite.step(
        "fault: xenstored is killed while requests are outstanding",
        || killed_store(kernel),
    );
    suite.step("fault: an image that is no PE file is named", || {
        bad_image(kernel, b"MZ, but nothing else", "not a PE image")
    });
    suite.step("fault: an image whose import is missing is named", || {
        missing_import(kernel)
    });
    suite.step(
        "fault: a second run at the same time is refused",
        second_run,
    );
}

/// Boots `payload` and returns the guest's lines; the kernel's last line is one of them.
pub(super) fn boot(
    rig: &mut Rig,
    kernel: &Path,
    payload: &Payload,
    vcpus: u32,
) -> Result<Vec<String>> {
    let image = pack(&util::read(kernel)?, payload)?;
    rig.create_guest(&GuestConfig {
        vcpus,
        ..GuestConfig::new(image)
    })?;
    rig.wait_log("^KERNEL: (done|failed)", LIMIT)?;
    let lines = rig.guest_log()?;
    rig.destroy()?;
    Ok(lines)
}

fn rig() -> Result<Rig> {
    Ok(Rig::start(RigConfig {
        cache: Cache::new(),
        ..RigConfig::default()
    })?)
}

/// Starts a guest whose sample finds `outage` instead of a nonce: it announces itself and keeps requests outstanding until one
/// fails. Returns when it has.
pub(super) fn start_outage(
    rig: &mut Rig,
    kernel: &Path,
    payload: &Payload,
    vcpus: u32,
) -> Result<()> {
    let image = pack(&util::read(kernel)?, payload)?;
    let domid = rig.create_guest(&GuestConfig {
        vcpus,
        paused: true,
        ..GuestConfig::new(image)
    })?;
    rig.dom0_ok(&format!(
        "P=/local/domain/{domid}; xenstore-write $P/device/sample/0/backend-id 0 $P/device/sample/0/nonce outage $P/data/sample '' \
         && xenstore-chmod $P/data/sample n{domid}"
    ))?;
    rig.unpause()?;
    rig.wait_log("^RESULT outage ready", Duration::from_secs(30))?;
    Ok(())
}

/// Requests must fail with a status, nothing may hang, and removal and unload must still work.
fn killed_store(kernel: &Path) -> Result<()> {
    let mut rig = rig()?;
    let payload = run::payload(Flavor::Free, run::SAMPLE, TIMEOUT)?;
    start_outage(&mut rig, kernel, &payload, 1)?;
    rig.kill_xenstored()?;
    rig.wait_log("^RESULT outage STATUS_", Duration::from_secs(60))?;
    let last = rig.wait_log("^KERNEL: (done|failed)", Duration::from_secs(60))?;
    ensure!(last.starts_with("KERNEL: done status=ok"), "{last}");
    Ok(())
}

fn bad_image(kernel: &Path, image: &[u8], reason: &str) -> Result<()> {
    let mut rig = rig()?;
    let payload = Payload::new()
        .boot("drivers=bad\n")
        .driver("bad.sys", image);
    let lines = boot(&mut rig, kernel, &payload, 1)?;
    let last = lines
        .iter()
        .rev()
        .find(|line| line.starts_with("KERNEL: failed"))
        .context("the kernel did not fail")?;
    ensure!(last.contains("bad.sys") && last.contains(reason), "{last}");
    Ok(())
}

/// A copy of xen.sys that asks for an export which nobody has.
fn missing_import(kernel: &Path) -> Result<()> {
    let mut image = util::read(&Flavor::Free.dir().join("xen.sys"))?;
    let (name, other) = (
        b"KeQueryActiveProcessorCountEx\0",
        b"KeQueryActiveProcessorCountEy\0",
    );
    let at = image
        .windows(name.len())
        .position(|part| part == name)
        .context("xen.sys does not import KeQueryActiveProcessorCountEx")?;
    image[at..at + other.len()].copy_from_slice(other);
    bad_image(kernel, &image, "KeQueryActiveProcessorCountEy")
}

/// A command of another process, which is what a person would start by mistake.
fn second_run() -> Result<()> {
    let first = rig()?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .args(["run", "--yes"])
        .env_remove("RIG_WAIT")
        .current_dir(util::root());
    let second = command.output()?;
    drop(first);
    let said = String::from_utf8_lossy(&second.stderr);
    let last = said.lines().last().unwrap_or_default();
    ensure!(!second.status.success(), "a second run went through");
    ensure!(
        last.contains("another run") && last.contains(&std::process::id().to_string()),
        "the message does not name the first run: {last}"
    );
    println!("    {last}");
    Ok(())
}
