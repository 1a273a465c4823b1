// SPDX-License-Identifier: BSD-2-Clause
//! [`Instant`] and [`Duration`] in NT's unit of 100 ns.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A span of time in units of 100 ns.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Longer than any machine runs.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// `ticks` units of 100 ns.
    #[must_use]
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }
    /// `us` microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us.saturating_mul(10))
    }
    /// `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(10_000))
    }
    /// `secs` seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(10_000_000))
    }
    /// The number of 100 ns units.
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.0
    }
    /// Whole microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0 / 10
    }
    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 10_000
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A point of interrupt time: units of 100 ns since boot.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The point that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `ticks` units of 100 ns after boot.
    #[must_use]
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }
    /// Units of 100 ns since boot.
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.0
    }
    /// Interrupt time now: moves with the clock interrupt, so in steps of one tick of it.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn now() -> Self {
        Self(crate::nt::time::interrupt_time())
    }
    /// Time from `earlier` to here, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
    /// Time from `self` until now.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000 => write!(f, "{} us", self.as_micros()),
            10_000..100_000_000 => write!(f, "{} ms", self.as_millis()),
            _ => write!(f, "{} s", self.0 / 10_000_000),
        }
    }
}
