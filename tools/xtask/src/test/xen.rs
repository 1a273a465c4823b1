// SPDX-License-Identifier: BSD-2-Clause
//! xen.sys on real Xen: `tools/xentest` calls every export, in PVH and HVM guests, with 1 and 4 vCPUs, with the processors' own
//! event state registered and the images loaded twice; then it crashes on purpose, and in a plain QEMU there is no Xen at all.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, Shutdown, pack, plain};

use super::Suite;
use crate::build::Flavor;
use crate::util;

const LIMIT: Duration = Duration::from_secs(180);
const CONTROL: &str = r"\Registry\Machine\SYSTEM\CurrentControlSet";

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for hvm in [false, true] {
        let kind = if hvm { "HVM" } else { "PVH" };
        for vcpus in [1, 4] {
            suite.step(
                &format!("xen.sys: every export, {kind}, {vcpus} vCPU"),
                || exports(kernel, hvm, vcpus, EventState::Shared),
            );
        }
    }
    for vcpus in [1, 4] {
        suite.step(
            &format!("xen.sys: event state of its own, loaded twice, {vcpus} vCPU"),
            || exports(kernel, false, vcpus, EventState::Forced),
        );
    }
    suite.step("xen.sys: every export, PVH, 40 vCPU", || {
        exports(kernel, false, 40, EventState::ByItself)
    });
    for (kind, code) in [("CODE", 0xC0DE), ("BUG", 0xDEAD)] {
        suite.step(
            &format!("xen.sys: bug check {code:#x} is a crash to Xen"),
            || crash(kernel, kind, code),
        );
    }
    suite.step("xen.sys: off Xen every export says so", || off_xen(kernel));
}

/// Where Xen keeps the processors' event state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EventState {
    /// In the shared page.
    Shared,
    /// In pages of xen.sys, because the registry says so; the images are loaded twice.
    Forced,
    /// There, because there are more processors than the shared page has room for.
    ByItself,
}

/// The two images, a registry with `options` and `more` lines, and `boot`.
fn payload(boot: &str, options: &str, more: &str) -> Result<Payload> {
    let mut registry = String::new();
    for key in [
        r"Services\xen\Parameters",
        r"Services\xentest",
        r"Services\XENFILT\Parameters",
        r"Control\Class\{4d36e96a-e325-11ce-bfc1-08002be10318}",
    ] {
        writeln!(registry, "K\t{CONTROL}\\{key}")?;
    }
    let options = format!("NOEXECUTE=OPTIN XENTEST:HERE=YES {options}");
    for (key, value) in [
        ("Control", format!("SystemStartOptions\tsz\t{options}")),
        (
            r"Control\TimeZoneInformation",
            "RealTimeIsUniversal\tdword\t1".to_owned(),
        ),
        (
            r"Services\xenbus\Parameters",
            r"RequestKey@sz@SYSTEM\CurrentControlSet\Services\xenbus_monitor\Request"
                .replace('@', "\t"),
        ),
        (
            r"Control\Class\{4d36e97d-e325-11ce-bfc1-08002be10318}",
            "UpperFilters\tmulti_sz\tother".to_owned(),
        ),
    ] {
        writeln!(registry, "V\t{CONTROL}\\{key}\t{value}")?;
    }
    registry += more;
    let mut payload = Payload::new()
        .boot(&format!("drivers=xentest\n{boot}"))
        .registry(&registry);
    for file in ["xen.sys", "xentest.sys"] {
        payload = payload.driver(file, util::read(&Flavor::Free.dir().join(file))?);
    }
    Ok(payload)
}

fn start(hvm: bool) -> Result<Rig> {
    Ok(Rig::start(RigConfig {
        cache: Cache::new(),
        hvm,
        ..RigConfig::default()
    })?)
}

/// All `TEST` lines are good, the last one came `times` times, and the kernel found nothing wrong.
fn judge(lines: &[String], last: &str, times: usize) -> Result<()> {
    let tests: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("TEST "))
        .collect();
    let bad: Vec<_> = tests
        .iter()
        .filter(|line| !line.ends_with(" ok"))
        .map(|line| line.as_str())
        .collect();
    ensure!(bad.is_empty(), "{}", bad.join("; "));
    let end = lines
        .iter()
        .rev()
        .find(|line| line.starts_with("KERNEL: done") || line.starts_with("KERNEL: failed"))
        .context("the kernel has no last line")?;
    ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
    let ends = tests.iter().filter(|line| line.as_str() == last).count();
    ensure!(ends == times, "{last:?} came {ends} times, not {times}");
    println!("    {} tests", tests.len());
    Ok(())
}

fn exports(kernel: &Path, hvm: bool, vcpus: u32, events: EventState) -> Result<()> {
    let registered = "XENTEST:VCPU_INFO=1";
    let (payload, times) = match events {
        EventState::Shared => (payload("", "", "")?, 1),
        EventState::Forced => {
            let force =
                format!("V\t{CONTROL}\\Services\\xen\\Parameters\tRegisterVcpuInfo\tdword\t1\n");
            let boot = "repeat=2\nkeeps_pages=xen\n";
            (payload(boot, registered, &force)?, 2)
        }
        EventState::ByItself => (payload("keeps_pages=xen\n", registered, "")?, 1),
    };
    let mut rig = start(hvm)?;
    rig.create_guest(&GuestConfig {
        vcpus,
        hvm,
        ..GuestConfig::new(pack(&util::read(kernel)?, &payload)?)
    })?;
    let end = rig.wait_log("^KERNEL: (done|failed)", LIMIT);
    let lines = rig.guest_log()?;
    if let Err(error) = end {
        bail!(
            "{error}; the guest's last lines: {:#?}",
            &lines[lines.len().saturating_sub(20)..]
        );
    }
    rig.destroy()?;
    judge(&lines, "TEST xentest.end ok", times)
}

/// The test kernel ends a crash that it expects by powering off: only the latched reason makes Xen call it a crash.
fn crash(kernel: &Path, kind: &str, code: u32) -> Result<()> {
    let payload = payload(
        &format!("expect_bugcheck={code:#x}\n"),
        &format!("XENTEST:CRASH={kind}"),
        "",
    )?;
    let mut rig = start(false)?;
    rig.create_guest(&GuestConfig::new(pack(&util::read(kernel)?, &payload)?))?;
    let end = rig.wait_log("^KERNEL: (done|failed)", LIMIT)?;
    ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
    let shutdown = rig.wait_shutdown(LIMIT)?;
    ensure!(
        matches!(shutdown, Shutdown::Crashed),
        "Xen does not know of a crash"
    );
    let lines = rig.guest_log()?;
    let detail = if code == 0xDEAD {
        ["what: on purpose", "file: entry.rs", "line 77"]
    } else {
        [
            "parameter 1: 0x0000000000000011",
            "parameter 2: 0x0000000000000022",
            "parameter 4: 0x0000000000000044",
        ]
    };
    let banner = format!("=== bug check {code:#x}");
    let close = format!("=== end of bug check {code:#x}");
    for wanted in [banner.as_str(), "rip ", "xen.sys+0x", &close]
        .iter()
        .chain(&detail)
    {
        let said = |line: &&String| line.starts_with("xen|BUGCHECK: ") && line.contains(wanted);
        ensure!(
            lines.iter().any(|line| said(&line)),
            "no line with {wanted:?}"
        );
    }
    rig.destroy()?;
    Ok(())
}

/// Plain QEMU.
fn off_xen(kernel: &Path) -> Result<()> {
    let image = pack(&util::read(kernel)?, &payload("", "", "")?)?;
    let lines = plain(&Cache::new(), &image, 4, LIMIT)?;
    judge(&lines, "TEST off_xen.every_export_says_so ok", 1)
}
