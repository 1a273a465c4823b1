// SPDX-License-Identifier: BSD-2-Clause
//! What a machine does whose dom0 does not answer: the agent in dom0 answers about every command in time, so this is never the
//! command's fault.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Rig;
use crate::error::Error;
use crate::qmp::Qmp;
use crate::snapshot::with_console;

/// Where all of it goes, in the cache.
const REPORT: &str = "run/silent.log";
/// What QEMU's monitor is asked, twice, so that a CPU that goes round can be told from one that stands.
const QUESTIONS: [&str; 3] = ["info registers -a", "info lapic 0", "info lapic 1"];
/// How long the agent may take to answer.
const PING: Duration = Duration::from_secs(20);

impl Rig {
    /// `error`, if it is one of the machinery, with what is to be seen of the machine from outside.
    pub(super) fn seen(&self, error: Error) -> Error {
        if !error.is_infrastructure() {
            return error;
        }
        if let Err(ended) = self.machine.qemu.check() {
            return ended;
        }
        // A command that cannot be killed is another matter than a dom0 that stands still.
        let agent = match self.machine.dom0.ping(PING) {
            Ok(()) => "its agent answers a ping",
            Err(_) => "its agent does not answer a ping",
        };
        let mut report = String::new();
        for _ in 0..2 {
            ask(&mut self.machine.qmp.borrow_mut(), &mut report);
            thread::sleep(Duration::from_millis(500));
        }
        let cpus = cpus(&report).join(", ");
        report.push_str(&String::from_utf8_lossy(
            &fs::read(&self.log).unwrap_or_default(),
        ));
        let file = self.config.cache.path(REPORT);
        // The error says the most of it.
        let _ = fs::write(&file, &report);
        let error = Error::new(
            error.kind(),
            format!(
                "{error}; {agent}; the CPUs: {cpus} (more in {})",
                file.display()
            ),
        );
        with_console(&error, &self.log)
    }
}

fn ask(qmp: &mut Qmp, report: &mut String) {
    for question in QUESTIONS {
        let said = qmp.call("human-monitor-command", json!({ "command-line": question }));
        let said = match said {
            Ok(text) => text.as_str().unwrap_or_default().to_owned(),
            Err(e) => e.to_string(),
        };
        let _ = writeln!(report, "## {question}\n{said}");
    }
}

/// `halted at X` or `at X` for each register dump of a CPU.
fn cpus(report: &str) -> Vec<String> {
    report
        .lines()
        .filter_map(|line| {
            let at = line.strip_prefix("RIP=")?.split(' ').next()?;
            let halted = if line.contains("HLT=1") {
                "halted "
            } else {
                ""
            };
            Some(format!("{halted}at {at}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_runs_is_told_from_one_that_is_halted() {
        let report = "CPU#0\nRAX=0 RBX=1\nRIP=ffff82d040203a4b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n\
                      CPU#1\nRIP=ffffffff81c01234 RFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n";
        assert_eq!(
            cpus(report),
            ["halted at ffff82d040203a4b", "at ffffffff81c01234"]
        );
    }
}
