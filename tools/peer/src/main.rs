// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod agent;
mod args;
mod device;
mod echo;
mod evtchn;
#[expect(unsafe_code, reason = "ioctl and mmap of Xen's device files")]
mod ffi;
mod gnt;
mod line;
mod listing;
mod log;
mod mux;
mod probe;
mod rate;
mod report;
mod sample;
mod store;
mod stress;
mod wire;

use std::fmt;
use std::process::ExitCode;

use args::Args;

/// What a command failed with, in plain words.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Result of a command.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

const USAGE: &str =
    "usage: xenpeer agent|sample|probe|echo|evtchn|store|stress|gnt|dump|log ... (see README.md)";

fn main() -> ExitCode {
    let mut args = Args::new(std::env::args().skip(1));
    let done = match args.word().as_deref() {
        Some("agent") => agent::run(args),
        Some("sample") => sample::run(args),
        Some("probe") => probe::run(args),
        Some("echo") => echo::run(args),
        Some("evtchn") => device::evtchn(args),
        Some("gnt") => device::gnt(args),
        Some("dump") => device::dump(args),
        Some("store") => device::store(args),
        Some("log") => log::run(args),
        Some("stress") => stress::run(args),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xenpeer: {failure}");
            ExitCode::FAILURE
        }
    }
}
