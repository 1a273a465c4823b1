// SPDX-License-Identifier: BSD-2-Clause
//! The account of a sample run: what the guest claims, what dom0 saw, and whether they agree.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use anyhow::{Result, bail};
use serde::Serialize;

use super::Args;

/// One operation of the sample child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Operation {
    /// What was done.
    pub(crate) name: String,
    /// `ok`, or why not.
    pub(crate) result: String,
    /// Instructions of the guest and of Xen on its behalf, minimum over the passes; 0 when not measured.
    pub(crate) instructions: u64,
    /// The same with what dom0 does until the operation is done.
    pub(crate) elapsed: u64,
    /// Hypercalls of that pass.
    pub(crate) hypercalls: u64,
    /// Event channel sends among them.
    pub(crate) sends: u64,
    /// Passes measured.
    pub(crate) passes: u64,
}

/// Everything one run has shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    xen: String,
    domid: u32,
    vcpus: u32,
    guest_type: &'static str,
    drivers: &'static str,
    /// Plain results of the guest: build, abi, ...
    results: BTreeMap<String, String>,
    operations: Vec<Operation>,
    /// The test kernel's last line.
    kernel: String,
    /// dom0's last line.
    peer: String,
    peer_code: Option<i32>,
    /// Hypercalls that xen.sys says it made when it was unloaded, and those counted in its image from outside the guest.
    hypercalls: (Option<u64>, Option<u64>),
    /// What became of opening each device from user mode: driver, device, status.
    creates: Vec<String>,
    verifier: Vec<String>,
}

/// Splits `key=value` words.
fn words(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect()
}

fn operation(name: &str, text: &str) -> Operation {
    let words = words(text);
    let number = |key: &str| {
        words
            .get(key)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    };
    Operation {
        name: name.to_owned(),
        result: words
            .get("status")
            .copied()
            .unwrap_or("no status")
            .to_owned(),
        instructions: number("instructions"),
        elapsed: number("elapsed"),
        hypercalls: number("hypercalls"),
        sends: number("sends"),
        passes: number("passes"),
    }
}

/// Where the test kernel says that it loaded xen.sys.
fn xen_image(guest: &[String]) -> Option<Range<u64>> {
    let line = guest
        .iter()
        .find_map(|line| line.strip_prefix("KERNEL: load xen.sys "))?;
    let words = words(line);
    let number = |key: &str| u64::from_str_radix(words.get(key)?.strip_prefix("0x")?, 16).ok();
    let base = number("base")?;
    Some(base..base + number("size")?)
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "each is one side's word")]
    pub(super) fn new(
        domid: u32,
        args: &Args,
        versions: &str,
        last: &str,
        guest: &[String],
        peer: &[String],
        peer_code: Option<i32>,
        outside: &BTreeMap<u64, u64>,
    ) -> Self {
        let mut results = BTreeMap::new();
        let mut operations = Vec::new();
        for line in guest {
            let Some((key, value)) = line
                .strip_prefix("RESULT ")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            match key.strip_prefix("op.") {
                Some(name) => operations.push(operation(name, value)),
                None => {
                    results.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        for (key, prefix) in [
            ("build", "DBG: xenbus: version "),
            ("events", "DBG: evtchn: "),
        ] {
            if let Some(text) = guest.iter().find_map(|line| line.strip_prefix(prefix)) {
                results.insert(key.to_owned(), text.to_owned());
            }
        }
        let field = |name: &str| {
            let line = versions.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or("?", |(_, value)| value.trim())
                .to_owned()
        };
        Self {
            xen: field("xen_version"),
            domid,
            vcpus: args.vcpus,
            guest_type: if args.hvm { "HVM" } else { "PVH" },
            drivers: args.flavor().name(),
            results,
            operations,
            kernel: last.to_owned(),
            peer: peer
                .iter()
                .rev()
                .find(|line| line.starts_with("PEER "))
                .cloned()
                .unwrap_or_default(),
            peer_code,
            hypercalls: (
                guest
                    .iter()
                    .find_map(|line| line.strip_prefix("DBG: xen: unloading after "))
                    .and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
                xen_image(guest).map(|image| outside.range(image).map(|(_, count)| count).sum()),
            ),
            creates: guest
                .iter()
                .filter_map(|line| line.strip_prefix("RESULT create "))
                .map(str::to_owned)
                .collect(),
            verifier: guest
                .iter()
                .filter(|line| line.starts_with("VERIFIER:"))
                .cloned()
                .collect(),
        }
    }

    /// The operation of that name.
    pub(crate) fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|operation| operation.name == name)
    }

    /// A plain result of the guest.
    pub(crate) fn result(&self, key: &str) -> Option<&str> {
        self.results.get(key).map(String::as_str)
    }

    /// Whether an open from user mode was tried on a device of `driver`.
    pub(crate) fn tried_to_open(&self, driver: &str) -> bool {
        self.creates
            .iter()
            .any(|line| line.split(' ').next() == Some(driver))
    }

    /// The report as JSON.
    ///
    /// # Errors
    ///
    /// Of serialisation.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Whether the guest did everything, dom0 saw what the guest claims, and nobody broke a rule.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    pub(crate) fn verdict(&self) -> Result<()> {
        if let Some(line) = self.verifier.first() {
            bail!("the test kernel caught a broken rule: {line}");
        }
        if !self.kernel.starts_with("KERNEL: done status=ok") {
            bail!("the test kernel says: {}", self.kernel);
        }
        if self.peer_code != Some(0) || !self.peer.starts_with("PEER ok") {
            bail!("dom0 says: {} (exit code {:?})", self.peer, self.peer_code);
        }
        if self.result("sample") != Some("ok") {
            bail!(
                "the sample child says: {}",
                self.result("sample").unwrap_or("nothing")
            );
        }
        if let Some(open) = self.creates.iter().find(|line| !line.contains(" 0xc0")) {
            bail!("a device opens from user mode: {open}");
        }
        let (inside, outside) = self.hypercalls;
        if inside.is_none() || inside != outside {
            bail!(
                "xen.sys counted {inside:?} hypercalls, outside the guest there were {outside:?}"
            );
        }
        if self.operations.is_empty() {
            bail!("the sample child reported no operation");
        }
        if let Some(bad) = self
            .operations
            .iter()
            .find(|operation| operation.result != "ok")
        {
            bail!("operation {}: {}", bad.name, bad.result);
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = |key: &str| self.result(key).unwrap_or("?");
        writeln!(
            f,
            "Xen {}, domain {} ({}, {} vCPU), drivers {} {}",
            self.xen,
            self.domid,
            self.guest_type,
            self.vcpus,
            result("build"),
            self.drivers
        )?;
        writeln!(f, "event channels: {}", result("events"))?;
        writeln!(
            f,
            "{:<18} {:>6} {:>13} {:>12} {:>11} {:>6}",
            "operation", "result", "instructions", "elapsed", "hypercalls", "sends"
        )?;
        for o in &self.operations {
            let measured = |n: u64| {
                if o.passes == 0 {
                    "-".to_owned()
                } else {
                    n.to_string()
                }
            };
            writeln!(
                f,
                "{:<18} {:>6} {:>13} {:>12} {:>11} {:>6}",
                o.name,
                o.result,
                measured(o.instructions),
                measured(o.elapsed),
                measured(o.hypercalls),
                measured(o.sends)
            )?;
        }
        let count = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        writeln!(
            f,
            "hypercalls of the whole run: {} by xen.sys's own count, {} counted outside the guest",
            count(self.hypercalls.0),
            count(self.hypercalls.1)
        )?;
        writeln!(f, "guest: {}", self.kernel)?;
        writeln!(f, "dom0:  {}", self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(guest: &[&str], peer: &str, code: i32) -> Report {
        let guest: Vec<String> = guest.iter().map(|&line| line.to_owned()).collect();
        let last = guest.last().cloned().unwrap_or_default();
        Report::new(
            1,
            &Args::new(1, false, false),
            "xen_version : 4.17.7\n",
            &last,
            &guest,
            &[peer.to_owned()],
            Some(code),
            &BTreeMap::from([(0x1010, 7), (0x9000, 1)]),
        )
    }

    const GOOD: [&str; 5] = [
        "RESULT op.read status=ok instructions=900 hypercalls=2 sends=1 passes=5",
        "RESULT sample ok",
        "KERNEL: load xen.sys base=0x1000 size=0x1000 entry=+0x1",
        "DBG: xen: unloading after 7 hypercalls",
        "KERNEL: done status=ok",
    ];

    #[test]
    fn hypercalls_that_the_guest_did_not_count_are_noticed() {
        let mut lines = GOOD;
        lines[3] = "DBG: xen: unloading after 6 hypercalls";
        let error = report(&lines, "PEER ok nonce=1", 0).verdict().unwrap_err();
        assert!(error.to_string().contains("Some(7)"), "{error}");
    }

    #[test]
    fn a_run_on_which_both_sides_agree_is_good() {
        let report = report(&GOOD, "PEER ok nonce=1", 0);
        report.verdict().unwrap();
        let read = report.operation("read").unwrap();
        assert_eq!(
            (read.instructions, read.hypercalls, read.sends),
            (900, 2, 1)
        );
        assert!(report.to_string().contains("Xen 4.17.7"));
    }

    #[test]
    fn a_device_that_opens_from_user_mode_is_noticed() {
        let mut lines = vec!["RESULT create xenbus XENBUS\\VEN_XP&DEV_SAMPLE\\_ 0x00000000"];
        lines.extend(GOOD);
        let error = report(&lines, "PEER ok nonce=1", 0).verdict().unwrap_err();
        assert!(error.to_string().contains("user mode"), "{error}");
    }

    #[test]
    fn dom0_has_the_last_word() {
        let error = report(&GOOD, "PEER FAIL echo: timeout", 1)
            .verdict()
            .unwrap_err();
        assert!(error.to_string().contains("echo"), "{error}");
    }

    #[test]
    fn a_verifier_line_fails_a_run_that_ended_well() {
        let mut lines = vec!["VERIFIER: driver=xenbus.sys call=ExFreePool rule=double-free"];
        lines.extend(GOOD);
        assert!(report(&lines, "PEER ok nonce=1", 0).verdict().is_err());
    }

    #[test]
    fn a_failed_operation_is_named() {
        let mut lines = GOOD;
        lines[0] = "RESULT op.watch status=STATUS_IO_TIMEOUT";
        let error = report(&lines, "PEER ok nonce=1", 0).verdict().unwrap_err();
        assert!(error.to_string().contains("watch"), "{error}");
    }
}
