// SPDX-License-Identifier: BSD-2-Clause
//! What an operation costs.

use kexec::{Result, info};

/// A number that grows. Any IRQL.
pub type Counter = extern "C" fn() -> u64;

/// Where the numbers come from.
#[derive(Clone, Copy)]
pub struct Probe {
    /// Time stamp counter.
    pub clock: Counter,
    /// Ticks of it in which the guest's processors ran; `None` where nobody says so.
    pub busy: Option<Counter>,
    /// Pool blocks that drivers have allocated; `None` where nobody says so.
    pub allocations: Option<Counter>,
    /// Hypercalls so far, and event sends among them.
    pub hypercalls: fn() -> (u64, u64),
}

/// The cheapest pass of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Ticks in which the guest ran, hypercalls included; all of them when `Probe::busy` is `None`.
    pub instructions: u64,
    /// Ticks until it was done, xenstored's and dom0's work included.
    pub elapsed: u64,
    /// Hypercalls in that pass.
    pub hypercalls: u64,
    /// Event sends in that pass.
    pub sends: u64,
    /// Pool blocks allocated in that pass, by all drivers; 0 when `Probe::allocations` is `None`.
    pub allocations: u64,
}

/// The cheapest of several passes, as they come.
#[derive(Clone, Copy)]
pub struct Meter {
    probe: Probe,
    begin: Cost,
    /// Of a pass in which nothing happens.
    overhead: Cost,
    best: Option<Cost>,
    passes: u32,
}

impl Meter {
    /// A meter without a pass. Measures what measuring costs.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        let nothing = Cost {
            instructions: 0,
            elapsed: 0,
            hypercalls: 0,
            sends: 0,
            allocations: 0,
        };
        let mut meter = Self {
            probe,
            begin: nothing,
            overhead: nothing,
            best: None,
            passes: 0,
        };
        for _ in 0..5 {
            meter.begin();
            meter.end();
        }
        meter.overhead = meter.best.unwrap_or(nothing);
        (meter.best, meter.passes) = (None, 0);
        meter
    }

    fn now(&self) -> Cost {
        let (hypercalls, sends) = (self.probe.hypercalls)();
        let elapsed = (self.probe.clock)();
        Cost {
            instructions: self.probe.busy.map_or(elapsed, |busy| busy()),
            elapsed,
            hypercalls,
            sends,
            allocations: self.probe.allocations.map_or(0, |count| count()),
        }
    }

    /// A pass begins.
    pub fn begin(&mut self) {
        self.begin = self.now();
    }

    /// A pass ends.
    pub fn end(&mut self) {
        let now = self.now();
        let cost = Cost {
            instructions: now
                .instructions
                .wrapping_sub(self.begin.instructions)
                .saturating_sub(self.overhead.instructions),
            elapsed: now
                .elapsed
                .wrapping_sub(self.begin.elapsed)
                .saturating_sub(self.overhead.elapsed),
            hypercalls: now.hypercalls.wrapping_sub(self.begin.hypercalls),
            sends: now.sends.wrapping_sub(self.begin.sends),
            allocations: now.allocations.wrapping_sub(self.begin.allocations),
        };
        self.passes += 1;
        if self
            .best
            .is_none_or(|best| cost.instructions < best.instructions)
        {
            self.best = Some(cost);
        }
    }

    /// The cheapest pass, and how many there were.
    #[must_use]
    pub fn best(&self) -> (Option<Cost>, u32) {
        (self.best, self.passes)
    }

    /// Prints the cheapest pass of operation `name`, or why there is none.
    ///
    /// # Errors
    /// That of `result`.
    pub fn report(&self, name: &str, result: Result) -> Result {
        match (result, self.best) {
            (Err(status), _) => info!("RESULT op.{name} status={status}"),
            (
                Ok(()),
                Some(Cost {
                    instructions,
                    elapsed,
                    hypercalls,
                    sends,
                    allocations,
                }),
            ) => {
                let passes = self.passes;
                info!(
                    "RESULT op.{name} status=ok instructions={instructions} elapsed={elapsed} hypercalls={hypercalls} sends={sends} allocations={allocations} passes={passes}"
                );
            }
            (Ok(()), None) => info!("RESULT op.{name} status=unmeasured"),
        }
        result
    }
}

/// Runs an operation, a future of a [`Result`], `$passes` times and reports the cheapest pass as `$name`.
///
/// A macro and not a function: a task that awaits what an async closure returns cannot be proven `Send` yet.
#[macro_export]
macro_rules! measure {
    ($probe:expr, $name:literal, $passes:expr, $operation:expr) => {{
        let mut meter = $crate::measure::Meter::new($probe);
        let mut result = ::core::result::Result::Ok(());
        for _ in 0..$passes {
            meter.begin();
            result = $operation.await;
            if result.is_err() {
                break;
            }
            meter.end();
        }
        meter.report($name, result)
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    static CLOCK: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn the_cheapest_pass_counts() {
        extern "C" fn clock() -> u64 {
            CLOCK.load(Ordering::Relaxed)
        }
        extern "C" fn allocations() -> u64 {
            CLOCK.load(Ordering::Relaxed) / 20
        }
        let probe = Probe {
            clock,
            busy: None,
            allocations: Some(allocations),
            hypercalls: || (CLOCK.load(Ordering::Relaxed) / 10, 0),
        };
        let mut meter = Meter::new(probe);
        for ticks in [50, 20, 90] {
            meter.begin();
            CLOCK.fetch_add(ticks, Ordering::Relaxed);
            meter.end();
        }
        assert_eq!(
            meter.best(),
            (
                Some(Cost {
                    instructions: 20,
                    elapsed: 20,
                    hypercalls: 2,
                    sends: 0,
                    allocations: 1
                }),
                3
            )
        );
    }
}
