// SPDX-License-Identifier: BSD-2-Clause
//! The project's commands: `cargo xtask --help` lists them.
//!
//! Every command does what it needs first: `run` and `test` set the machine up and build.

mod bench;
mod build;
mod coverage;
mod dump;
mod fuzz;
mod headers;
mod mutants;
mod package;
mod run;
mod setup;
mod stress;
mod test;
mod util;
mod wine;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Build, package, run and test the Xen bus drivers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find missing Debian packages and offer to install them
    Setup(setup::Args),
    /// Build and check the driver images
    Build(build::Args),
    /// Stamp the INF and gather the driver package
    Package(package::Args),
    /// Run a child driver on a real Xen and tell what it did
    Run(run::Args),
    /// Run every test
    Test(test::Args),
    /// Measure, print tables and write target/bench/<suite>.json
    Bench(bench::Args),
    /// Print the state of the bus from a memory image
    Dump(dump::Args),
    /// Write the C headers, or check them
    Headers(headers::Args),
    /// Drive the parsers and rings with bytes that a fuzzer makes up
    Fuzz(fuzz::Args),
    /// Show that kexec's models and tests notice every mutant
    Mutants(mutants::Args),
    /// Run kexec's small bus under random schedules
    Explore(mutants::ExploreArgs),
}

fn main() -> ExitCode {
    if let Some(code) = build::link::wrapped() {
        return code;
    }
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Setup(args) => setup::main(&args),
        Command::Build(args) => build::main(&args),
        Command::Package(args) => package::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Dump(args) => dump::main(&args),
        Command::Headers(args) => headers::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Mutants(args) => mutants::main(&args),
        Command::Explore(args) => mutants::explore(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
