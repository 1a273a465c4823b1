// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask fuzz`: LLVM's libFuzzer over the targets of `tools/fuzz`, on a stable compiler.
//!
//! Coverage comes from LLVM's `sancov-module` pass, which `-C` flags reach. What the fuzzer learns stays in
//! `target/fuzz/corpus`, what it finds in `target/fuzz/artifacts`; the seeds in the tree are only read.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::util;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The target, or `all`
    target: String,
    /// How long, in seconds, for all targets together
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Run this input once instead
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

/// What tells the fuzzer where an input went: edges as counters in line, comparisons as calls.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg=fuzzing",
];

/// Most bytes of an input.
const LONGEST: u32 = 2048;

/// Runs one target or all.
///
/// # Errors
/// No such target; the fuzzer cannot be built; it found something.
pub(crate) fn main(args: &Args) -> Result<()> {
    let names: Vec<_> = match args.target.as_str() {
        "all" => fuzz::TARGETS.iter().map(|(name, _)| *name).collect(),
        name => {
            let known = fuzz::TARGETS.iter().map(|(known, _)| *known);
            let found = known.clone().find(|known| *known == name);
            let known: Vec<_> = known.collect();
            vec![
                found
                    .with_context(|| format!("no target {name}; there are {}", known.join(", ")))?,
            ]
        }
    };
    run(&names, args.seconds, args.replay.as_ref())
}

/// Every target for its share of `seconds`.
///
/// # Errors
/// As [`main`].
pub(crate) fn short(seconds: u64) -> Result<()> {
    let names: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    run(&names, seconds, None)
}

fn run(names: &[&str], seconds: u64, replay: Option<&PathBuf>) -> Result<()> {
    let folder = util::target_dir().join("fuzz");
    let binary = build(&folder)?;
    let share = (seconds / names.len() as u64).max(1);
    let mut found = Vec::new();
    for name in names {
        let mut command = Command::new(&binary);
        command.env("FUZZ_TARGET", name).env("RUST_BACKTRACE", "0");
        match replay {
            Some(file) => drop(command.arg(file)),
            None => {
                let corpus = folder.join("corpus").join(name);
                let artifacts = folder.join("artifacts").join(name);
                for made in [&corpus, &artifacts] {
                    std::fs::create_dir_all(made).with_context(|| made.display().to_string())?;
                }
                command
                    .arg(format!("-max_total_time={share}"))
                    .arg(format!("-max_len={LONGEST}"))
                    .arg(format!("-artifact_prefix={}/", artifacts.display()))
                    .args(["-timeout=30", "-print_final_stats=1", "-verbosity=1"])
                    .arg(&corpus)
                    .arg(util::root().join("tools/fuzz/corpus").join(name));
            }
        }
        let output = command.output().context("the fuzzer does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            println!("fuzz {name:18} {}", summary(&said));
        } else {
            println!("{said}");
            found.push(*name);
        }
    }
    ensure!(
        found.is_empty(),
        "the fuzzer broke {}; the inputs are in {}",
        found.join(", "),
        folder.join("artifacts").display()
    );
    Ok(())
}

/// Runs, and the coverage of the last line that tells it.
fn summary(said: &str) -> String {
    let stat = |name: &str| {
        let line = said.lines().find(|line| line.contains(name));
        line.and_then(|line| line.split_whitespace().last())
            .unwrap_or("?")
    };
    let coverage = said
        .lines()
        .rev()
        .find_map(|line| line.split("cov: ").nth(1));
    let edges = coverage
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or("?");
    format!("{} runs, {edges} edges", stat("number_of_executed_units"))
}

/// Builds the fuzzer apart from everything else, whose flags are others.
fn build(folder: &std::path::Path) -> Result<PathBuf> {
    let host = util::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    ensure!(!host.is_empty(), "rustc does not say its host");
    let flags = COVERAGE.join("\x1f");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "fuzz"])
        .args(["--features", "libfuzzer", "--bin", "fuzz"])
        // With a target named, build scripts are built without the flags.
        .args(["--target", host, "--target-dir"])
        .arg(folder)
        .current_dir(util::root())
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")
        .status()
        .context("cargo does not start")?;
    if !status.success() {
        bail!("the fuzzer does not build");
    }
    Ok(folder.join(host).join("release/fuzz"))
}
