// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod base;
mod install;
mod parse;
mod registry;
mod stamp;

pub use base::{after_first_start, base_registry, machine};
pub use install::{DRIVER_DATABASE, install, registry_from_inf};
pub use parse::{Inf, Line, Section};
pub use registry::{Data, Entry, Registry};
pub use stamp::{Values, stamp};

/// What is wrong with an INF or template, with the line it was found on (0: the whole file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// 1-based line, 0 when the fault has no line.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Error {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            write!(f, "{}", self.what)
        } else {
            write!(f, "line {}: {}", self.line, self.what)
        }
    }
}

impl std::error::Error for Error {}

/// The result of this crate's functions.
pub type Result<T = ()> = std::result::Result<T, Error>;
