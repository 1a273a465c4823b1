// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask mutants`: every mutant of kexec, a small edit that a model or test must notice, is shown to be noticed.
//!
//! A mutant is applied in a copy of kexec, never in the working tree, and the test that it names must fail there: by a failed
//! check, or by never ending. One that survives, does not compile, or whose edit does not apply any more fails the command.

mod list;
mod scratch;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use list::Mutant;
use scratch::{Scratch, Verdict};

/// Arguments of `cargo xtask mutants`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only mutants whose name contains TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only look whether every edit still applies
    #[arg(long)]
    check: bool,
}

/// Shows that every mutant is killed.
///
/// # Errors
///
/// A mutant does not apply, does not compile, or survives; or a test fails without any.
pub(crate) fn main(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let wanted = |mutant: &Mutant| {
        args.only.is_empty() || args.only.iter().any(|text| mutant.name.contains(text))
    };
    let mutants: Vec<_> = list::load()?.into_iter().filter(wanted).collect();
    if mutants.is_empty() {
        bail!("no mutant has such a name");
    }
    println!("{} mutants, every edit applies", mutants.len());
    if args.check {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    let tests: BTreeSet<_> = mutants.iter().map(|mutant| &mutant.test).collect();
    for (index, test) in tests.iter().enumerate() {
        let verdict = scratch.verdict(None, test)?;
        let (name, number, count) = (&test.name, index + 1, tests.len());
        println!("test {number}/{count}: {name} {verdict}");
        if !matches!(verdict, Verdict::Passed(_)) {
            bail!("{name} fails without a mutant");
        }
    }
    let mut failed = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let (name, number, count) = (&mutant.name, index + 1, mutants.len());
        let line = match scratch.verdict(Some(mutant), &mutant.test) {
            Ok(verdict @ (Verdict::Failed(..) | Verdict::Endless(_))) => {
                println!("mutant {number}/{count}: {name} killed, {verdict}");
                continue;
            }
            Ok(_) => format!("SURVIVED {}", mutant.test.name),
            Err(error) => format!("NO VERDICT, {error:#}"),
        };
        println!("mutant {number}/{count}: {name} {line}");
        failed.push(name.as_str());
    }
    let (count, seconds) = (mutants.len(), begin.elapsed().as_secs());
    println!(
        "\n{} of {count} mutants killed, {seconds} s",
        count - failed.len()
    );
    if !failed.is_empty() {
        bail!("not killed: {}", failed.join(", "));
    }
    Ok(())
}

/// Arguments of `cargo xtask explore`.
#[derive(clap::Args, Debug)]
pub(crate) struct ExploreArgs {
    /// Schedules of each of the two schedulers
    #[arg(long, default_value_t = 100_000)]
    schedules: u32,
    /// Where the random schedules begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ExploreArgs {
    /// What the suite runs.
    pub(crate) const SHORT: Self = Self {
        schedules: 2_000,
        seed: 1,
    };
}

/// Runs kexec's small bus under random schedules.
///
/// # Errors
///
/// A schedule fails; its seed is printed.
pub(crate) fn explore(args: &ExploreArgs) -> Result<()> {
    let mut command =
        scratch::Build::Shuttle.cargo(&crate::util::root(), &crate::util::target_dir());
    command
        .args(["test", "--quiet", "--package", "kexec", "--lib", "shuttle_"])
        .args(["--", "--nocapture"])
        .env("KEXEC_SCHEDULES", args.schedules.to_string())
        .env("KEXEC_SEED", args.seed.to_string());
    crate::util::run(&mut command).context("exploring")
}

/// The loom models, as they are.
///
/// # Errors
///
/// One of them fails.
pub(crate) fn models() -> Result<()> {
    let mut command = scratch::Build::Loom.cargo(&crate::util::root(), &crate::util::target_dir());
    command.args(["test", "--quiet", "--package", "kexec", "--lib", "loom_"]);
    crate::util::run(&mut command)
}

/// kexec's tests with every access checked by the address sanitizer, whose runtime comes with the toolchain.
///
/// # Errors
///
/// One of them fails, or makes a wrong access.
pub(crate) fn address_sanitizer() -> Result<()> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command
        .args(["test", "--quiet", "--package", "kexec", "--lib"])
        .args(["--test", "executors", "--test", "nt"])
        // With a target named, build scripts and macros are built without it.
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(crate::util::root())
        .env("CARGO_TARGET_DIR", crate::util::target_dir().join("asan"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // Tests that end in a bug check leave what they had; leaks are the fake kernel's to find.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    crate::util::run(&mut command)
}
