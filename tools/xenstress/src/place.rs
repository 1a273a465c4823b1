// SPDX-License-Identifier: BSD-2-Clause
//! Clock, counters and lines of a guest.

use core::fmt;

use kexec::nt::time::{counter_time, tsc};
use kexec::{Duration, Passive, Status, Timers, info, wstr};
use workload::{Counters, Error, Place};
use xenbus_interface::errno::status;
use xenchild::measure::Counter;

use crate::ffi::Hypercalls;

/// What can be counted here.
#[derive(Clone, Copy)]
pub(crate) struct Probes {
    busy: Option<Counter>,
    interrupts: Option<Counter>,
    allocations: Option<Counter>,
    hypercalls: Option<Hypercalls>,
}

impl Probes {
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub(crate) fn find(passive: Passive) -> Self {
        Self {
            busy: xenchild::counter(wstr!("TestKernelBusyTicks"), passive),
            interrupts: xenchild::counter(wstr!("TestKernelRoutineCalls"), passive),
            allocations: xenchild::counter(wstr!("TestKernelPoolAllocations"), passive),
            hypercalls: Hypercalls::find(passive),
        }
    }
}

/// For how long the clock is compared with the system's.
const CALIBRATION: Duration = Duration::from_millis(20);

/// Ticks of the clock in a second.
pub(crate) async fn frequency(timers: &Timers) -> u64 {
    let (ticks, time) = (tsc(), counter_time());
    timers.sleep(CALIBRATION).await;
    let ticks = u128::from(tsc().wrapping_sub(ticks));
    // Units of 100 ns.
    let time = u128::from(counter_time().wrapping_sub(time));
    u64::try_from(ticks * 10_000_000 / time.max(1)).unwrap_or(u64::MAX)
}

/// A guest.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) probes: Probes,
    /// Ticks of the clock in a second.
    pub(crate) frequency: u64,
}

impl Place for Guest {
    fn name(&self) -> &str {
        self.name
    }

    fn now(&self) -> u64 {
        tsc()
    }

    fn ticks_per_second(&self) -> u64 {
        self.frequency
    }

    fn counters(&self) -> Counters {
        let read = |counter: Option<Counter>| counter.map(|count| count());
        let hypercalls = self.probes.hypercalls.map(Hypercalls::count);
        Counters {
            busy: read(self.probes.busy),
            hypercalls: hypercalls.map(|(all, _)| all),
            sends: hypercalls.map(|(_, sends)| sends),
            interrupts: read(self.probes.interrupts),
            allocations: read(self.probes.allocations),
        }
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        info!("{line}");
    }
}

/// xenstored's word for a status of the bus driver.
pub(crate) fn error(status: Status) -> Error {
    match status {
        Status::OBJECT_NAME_NOT_FOUND => Error::NotFound,
        Status::ACCESS_DENIED => Error::Denied,
        Status::RETRY => Error::Again,
        status::OBJECTID_EXISTS => Error::Exists,
        Status::INVALID_PARAMETER => Error::Invalid,
        Status::INSUFFICIENT_RESOURCES => Error::NoSpace,
        Status::QUOTA_EXCEEDED => Error::Quota,
        Status::INVALID_BUFFER_SIZE | Status::BUFFER_OVERFLOW => Error::TooBig,
        Status::NOT_SUPPORTED => Error::Unsupported,
        other => {
            info!("xenstress: {other}");
            Error::Other
        }
    }
}
