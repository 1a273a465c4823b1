// SPDX-License-Identifier: BSD-2-Clause
//! What goes into a run of an executor and what comes out: budgets, outcomes, errors, snapshots.

use core::fmt;

use crate::Status;
use crate::task::TaskInfo;

/// How much one run may do.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Polls, and tasks whose future or block is dropped without one.
    pub polls: usize,
    /// Microseconds, looked at every eight polls; zero means no limit.
    pub micros: u64,
}

impl Budget {
    /// One DPC activation: 64 polls or 50 us.
    pub const DPC: Self = Self {
        polls: 64,
        micros: 50,
    };
    /// At most `polls` polls, whatever the time.
    #[must_use]
    pub const fn polls(polls: usize) -> Self {
        Self { polls, micros: 0 }
    }
}

/// What a run did.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Someone else runs the executor.
    Busy,
    /// Nothing is left to do.
    Idle {
        /// Polls made.
        polls: usize,
    },
    /// The budget ended first; the executor has pended itself.
    More {
        /// Polls made.
        polls: usize,
    },
}

/// What an inline drive did.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driven {
    /// Whether the executor had nothing left to do.
    pub idle: bool,
    /// Polls made.
    pub polls: usize,
}

/// Why an inline drive did nothing.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveError {
    /// This processor runs the executor already: the caller is inside one of its polls.
    Reentrant,
    /// Another processor runs it and did not let go within the bound.
    Busy,
}

impl From<DriveError> for Status {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Reentrant => Self::POSSIBLE_DEADLOCK,
            DriveError::Busy => Self::DEVICE_BUSY,
        }
    }
}

/// A snapshot of one live task.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug)]
pub struct TaskState {
    /// Spawn site and size.
    pub info: &'static TaskInfo,
    /// Polls so far.
    pub polls: u32,
    /// Wakes that found it parked; zero without the feature `trace`.
    pub wakes: u32,
    /// In the run queue.
    pub scheduled: bool,
    /// The future is gone, references are left.
    pub complete: bool,
}

impl TaskState {
    /// One word: `ready`, `parked` (or running now) or `complete`.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.complete, self.scheduled) {
            (true, _) => "complete",
            (false, true) => "ready",
            (false, false) => "parked",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, file, line) = (self.info.name(), self.info.file(), self.info.line);
        let (polls, wakes) = (self.polls, self.wakes);
        let state = self.word();
        write!(f, "task {name} ({file}:{line}), {state}, {polls} polls")?;
        if cfg!(feature = "trace") {
            write!(f, ", {wakes} wakes")?;
        }
        Ok(())
    }
}
