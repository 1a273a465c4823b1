// SPDX-License-Identifier: BSD-2-Clause
//! Errors, with the names that the build script of `wdk-sys` expects.

use std::{fmt, io, path::PathBuf};

use crate::ApiSubset;

/// A failed file operation.
#[derive(Debug)]
pub struct IoError {
    path: PathBuf,
    source: io::Error,
}

impl IoError {
    /// Wraps `source`, which happened at `path`.
    pub fn with_path(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            path: path.into(),
            source,
        }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for IoError {}

/// Why the bindings can't be made.
#[derive(Debug)]
pub enum ConfigError {
    /// A failed file operation.
    Io(IoError),
    /// A part of mingw-w64 or clang isn't there.
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A `wdk-sys` feature for which this stand-in has no headers.
    Subset(ApiSubset),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Missing { path, package } => write!(
                f,
                "{} not found: install the Debian package {package}",
                path.display()
            ),
            Self::Subset(subset) => write!(f, "wdk-sys feature {subset:?} can't be built on Linux"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<IoError> for ConfigError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}
