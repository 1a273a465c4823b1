// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask test`: every test there is, in the order in which they are cheap.
//!
//! Host tests and lints, the two builds with their checks, Wine, and the rig. A failed step does not stop the others; the last
//! line counts.

mod bench;
pub(crate) mod children;
mod drivers;
mod dump;
pub(crate) mod echo;
mod faults;
mod footprint;
pub(crate) mod places;
mod sample;
pub(crate) mod storm;
mod suspend;
mod xen;

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{self, Flavor};
use crate::run::progress;
use crate::setup::{self, Purpose};
use crate::{coverage, mutants, package, util, wine};

/// Time of the fuzzer, for all targets together.
const FUZZ_SECONDS: u64 = 22;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Run only the steps whose name contains TEXT
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// How many steps are repeated because the machine that the tests run on failed: more than that is no accident.
const REPEATS: usize = 3;

/// What has run, and how it went.
struct Suite<'a> {
    only: Option<&'a str>,
    begin: Instant,
    passed: u32,
    failed: Vec<String>,
    repeated: Vec<String>,
}

impl<'a> Suite<'a> {
    fn new(only: Option<&'a str>) -> Self {
        Self {
            only,
            begin: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            repeated: Vec::new(),
        }
    }

    /// Runs one step unless it is not wanted.
    ///
    /// A step that an emulated machine took with it (QEMU ended, its dom0 answers nothing at all) has shown nothing, and runs once more.
    fn step(&mut self, name: &str, mut f: impl FnMut() -> Result<()>) {
        if self.only.is_some_and(|text| !name.contains(text)) {
            return;
        }
        progress(self.begin)(name);
        let mut outcome = f();
        if let Err(error) = &outcome
            && is_machines(error)
            && self.repeated.len() < REPEATS
        {
            println!("test {name} ... AGAIN, the machine failed\n    {error:#}");
            self.repeated.push(name.to_owned());
            outcome = f();
        }
        match outcome {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED\n    {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }
}

/// True if the rig itself failed, and nobody that is tested.
fn is_machines(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<rig::Error>();
    error.is_some_and(rig::Error::is_infrastructure)
}

/// Runs every test.
///
/// # Errors
///
/// One of them failed.
pub(crate) fn main(args: &Args) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Wine, Purpose::Rig], args.yes)?;
    let mut suite = Suite::new(args.only.as_deref());
    let cargo = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO"));
        util::run(command.args(arguments).current_dir(util::root())).map(drop)
    };
    suite.step("sources are formatted", || {
        cargo(&["fmt", "--all", "--check"])
    });
    suite.step("host: tests of every crate, and what they cover", || {
        coverage::test()
    });
    suite.step("host: image checks against images that must fail", || {
        cargo(&["test", "--quiet", "--package", "xtask", "--", "--ignored"])
    });
    suite.step("host: what kexec's core costs", || {
        cargo(&[
            "test",
            "--quiet",
            "--package",
            "kexec",
            "--lib",
            "the_counts_of_a_wake",
            "--",
            "--nocapture",
        ])
    });
    suite.step("host: kexec under loom", mutants::models);
    suite.step(
        "host: kexec under the address sanitizer",
        mutants::address_sanitizer,
    );
    suite.step("host: kexec under random schedules", || {
        mutants::explore(&mutants::ExploreArgs::SHORT)
    });
    suite.step("host: fuzz every target for a short while", || {
        crate::fuzz::short(FUZZ_SECONDS)
    });
    suite.step("host: clippy", || {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    });
    suite.step("headers: fresh, as in Rust, and they compile", || {
        crate::headers::check()
    });
    suite.step("build: shipping images pass their checks", || {
        build::images(Flavor::Free, &build::IMAGES)
    });
    suite.step("build: checked images pass their checks", || {
        build::images(Flavor::Checked, &build::IMAGES)
    });
    suite.step("wine: images stay inert, the INF installs", || {
        let folder = package::gather(&Flavor::Free.dir())?;
        wine::test(&Flavor::Free.dir(), &folder, &util::target_dir())
    });
    let kernel = build::test_kernel().context("the test kernel");
    match kernel {
        Ok(kernel) => {
            suite.step("rig: boots, and a hello guest speaks", || {
                cargo(&[
                    "test",
                    "--quiet",
                    "--package",
                    "rig",
                    "--features",
                    "rig-tests",
                    "--",
                    // One of them holds the rig in a process of its own.
                    "--test-threads=1",
                ])
            });
            drivers::steps(&mut suite, &kernel);
            storm::steps(&mut suite, &kernel);
            sample::steps(&mut suite, &kernel);
            children::steps(&mut suite, &kernel);
            bench::steps(&mut suite);
            places::steps(&mut suite);
            echo::steps(&mut suite, &kernel);
            suspend::steps(&mut suite, &kernel);
            faults::steps(&mut suite, &kernel);
            dump::steps(&mut suite, &kernel);
            xen::steps(&mut suite, &kernel);
        }
        Err(error) => suite.step("build: the test kernel", || bail!("{error:#}")),
    }
    let failed = suite.failed.len();
    if !suite.repeated.is_empty() {
        println!(
            "\nran twice, for the machine failed: {}",
            suite.repeated.join("; ")
        );
    }
    println!("\n{} passed, {failed} failed", suite.passed);
    if failed > 0 {
        bail!("failed: {}", suite.failed.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rig::{Error, Kind};

    use super::*;

    /// A suite after `steps` steps that fail `times` times each, for a reason of `kind`; and how often they ran.
    fn after(steps: u32, times: u32, kind: Kind) -> (Suite<'static>, u32) {
        let mut suite = Suite::new(None);
        let mut runs = 0;
        for _ in 0..steps {
            let mut left = times;
            suite.step("a step", || {
                runs += 1;
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                Err(Error::new(kind, "a reason")).context("while it was played")
            });
        }
        (suite, runs)
    }

    #[test]
    fn a_step_runs_again_only_if_the_machine_failed_and_only_once() {
        let (suite, runs) = after(1, 1, Kind::Infrastructure);
        assert_eq!((suite.passed, suite.failed.len(), runs), (1, 0, 2));
        let (suite, runs) = after(1, 2, Kind::Infrastructure);
        assert_eq!((suite.passed, suite.failed.len(), runs), (0, 1, 2));
        for kind in [Kind::Guest, Kind::Dom0, Kind::Lifetime, Kind::Missing] {
            let (suite, runs) = after(1, 1, kind);
            assert_eq!((suite.passed, suite.failed.len(), runs), (0, 1, 1));
        }
    }

    #[test]
    fn a_machine_that_fails_all_the_time_is_no_accident() {
        let (suite, runs) = after(5, 1, Kind::Infrastructure);
        assert_eq!((suite.passed, suite.failed.len(), runs), (3, 2, 8));
    }
}
