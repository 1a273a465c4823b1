// SPDX-License-Identifier: BSD-2-Clause
//! What can go wrong in the rig, in plain words.

use std::fmt;
use std::io;
use std::path::Path;

/// Result of the rig.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Who is to blame; decides whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something is missing on this machine: a package, the network, disk space.
    Missing,
    /// Another run holds the rig.
    Busy,
    /// QEMU, Xen or dom0 failed, not what is being tested. Worth one retry.
    Infrastructure,
    /// The machine reached the end of its lifetime; nobody knows who made it last that long.
    Lifetime,
    /// A command in dom0 failed or said something unexpected.
    Dom0,
    /// The guest did not do what was waited for.
    Guest,
    /// A wrong argument from the caller, such as an image that is no ELF file.
    Input,
}

/// An error of the rig: a kind and a sentence.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(Kind::Missing, message)
    }

    pub(crate) fn infra(message: impl Into<String>) -> Self {
        Self::new(Kind::Infrastructure, message)
    }

    /// Wraps an I/O error with what was being done; a full disk is named as such.
    pub(crate) fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            return Self::missing(format!(
                "{doing}: the disk is full; the rig needs about 3 GB"
            ));
        }
        Self::new(Kind::Infrastructure, format!("{doing}: {error}"))
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True if one more try may help.
    pub fn is_infrastructure(&self) -> bool {
        self.kind == Kind::Infrastructure
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds the file and the action to an I/O error.
pub(crate) trait Context<T> {
    /// `action` is a verb phrase such as "read"; the message becomes "read PATH: reason".
    fn at(self, action: &str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, action: &str, path: &Path) -> Result<T> {
        self.map_err(|e| Error::io(format_args!("{action} {}", path.display()), &e))
    }
}
