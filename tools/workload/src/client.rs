// SPDX-License-Identifier: BSD-2-Clause
//! What a place where workloads run provides: a client of xenstore, a clock, counters, and somewhere to print.

use core::fmt;
use core::future::Future;

/// What a request was refused with: xenstored's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `ENOENT`: there is no such node.
    NotFound,
    /// `EACCES` or `EPERM`.
    Denied,
    /// `EAGAIN`: a transaction met a conflict.
    Again,
    /// `EEXIST`.
    Exists,
    /// `EINVAL`: a bad path or value.
    Invalid,
    /// `ENOSPC`: a quota.
    NoSpace,
    /// `EQUOTA`: a quota, by the other daemon.
    Quota,
    /// `E2BIG`: too much for one message, or too many watches.
    TooBig,
    /// Nothing came within the limit.
    TimedOut,
    /// The place cannot do this.
    Unsupported,
    /// Anything else.
    Other,
}

impl Error {
    /// How many there are.
    pub(crate) const COUNT: usize = 11;
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::NotFound,
        Self::Denied,
        Self::Again,
        Self::Exists,
        Self::Invalid,
        Self::NoSpace,
        Self::Quota,
        Self::TooBig,
        Self::TimedOut,
        Self::Unsupported,
        Self::Other,
    ];

    /// As xenstored says it, or a word of ours.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "ENOENT",
            Self::Denied => "EACCES",
            Self::Again => "EAGAIN",
            Self::Exists => "EEXIST",
            Self::Invalid => "EINVAL",
            Self::NoSpace => "ENOSPC",
            Self::Quota => "EQUOTA",
            Self::TooBig => "E2BIG",
            Self::TimedOut => "timeout",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }

    /// The error of xenstored's word.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "EPERM" => Self::Denied,
            _ => {
                let known = Self::ALL.into_iter().find(|error| error.name() == name);
                known.unwrap_or(Self::Other)
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a request gives.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// Names of a node's children.
pub trait Names {
    /// Calls `each` with every name, in the order they came.
    fn each(&self, each: impl FnMut(&str));
}

/// A client of the store. Paths are relative to the domain's home, or absolute.
///
/// Every future ends: a request that is not answered for long is [`Error::TimedOut`].
pub trait Client: Sync {
    /// A node's value.
    type Value: AsRef<[u8]> + Send;
    /// A node's children.
    type Names: Names + Send;
    /// An open transaction.
    type Transaction: Transaction + Send;
    /// A watch.
    type Watch: Watch + Send;

    /// Reads a node.
    fn read(&self, path: &str) -> impl Future<Output = Result<Self::Value>> + Send;
    /// Writes a node, making it and its parents.
    fn write(&self, path: &str, value: &[u8]) -> impl Future<Output = Result> + Send;
    /// Removes a node and all below it.
    fn remove(&self, path: &str) -> impl Future<Output = Result> + Send;
    /// Lists a node's children; a node without any has none.
    fn directory(&self, path: &str) -> impl Future<Output = Result<Self::Names>> + Send;
    /// Makes `owner` the node's owner, and lets everyone read it or nobody.
    fn set_permissions(
        &self,
        path: &str,
        owner: u16,
        readable: bool,
    ) -> impl Future<Output = Result> + Send;
    /// Starts a transaction.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction>> + Send;
    /// Watches a node and all below it. What the daemon says may also come with the first change.
    fn watch(&self, path: &str) -> impl Future<Output = Result<Self::Watch>> + Send;
}

/// A transaction; dropped, it is aborted.
pub trait Transaction {
    /// What is read.
    type Value: AsRef<[u8]> + Send;

    /// Reads a node.
    fn read(&self, path: &str) -> impl Future<Output = Result<Self::Value>> + Send;
    /// Writes a node.
    fn write(&self, path: &str, value: &[u8]) -> impl Future<Output = Result> + Send;
    /// Commits, or aborts.
    fn end(self, commit: bool) -> impl Future<Output = Result> + Send;
}

/// A watch; dropped, it ends. It fires soon after registration, and after each change.
pub trait Watch {
    /// Waits for the next change, at most `limit` milliseconds ([`Error::TimedOut`]).
    fn changed(&mut self, limit: u32) -> impl Future<Output = Result> + Send;
}

/// Numbers that grow; `None` where nobody counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Ticks of [`Place::now`] in which the guest's processors ran.
    pub busy: Option<u64>,
    /// Hypercalls of the guest.
    pub hypercalls: Option<u64>,
    /// Event sends among them.
    pub sends: Option<u64>,
    /// Interrupts of the bus.
    pub interrupts: Option<u64>,
    /// Pool blocks that drivers have allocated.
    pub allocations: Option<u64>,
}

/// Where a workload runs.
pub trait Place: Sync {
    /// For the report: `async`, `vtable`, `dom0`, `linux`.
    fn name(&self) -> &str;
    /// A clock.
    fn now(&self) -> u64;
    /// Its ticks in a second.
    fn ticks_per_second(&self) -> u64;
    /// The counters now.
    fn counters(&self) -> Counters;
    /// Prints a line.
    fn line(&self, line: fmt::Arguments<'_>);
}
