// SPDX-License-Identifier: BSD-2-Clause
//! Wall clock time as the hypervisor has it.

use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result, Status};

use crate::ffi::query::query;
use crate::ffi::shared_info::Clock;
use crate::shared_info::{SharedInfoV3, SharedInfoV4};

/// Wall clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// 100 ns units since 1601.
    pub ticks: i64,
    /// The units are of local time, as the emulated clock is set; else of UTC.
    pub local: bool,
}

/// A reference to the bus driver's shared info.
#[derive(Debug)]
pub struct SharedInfo(Clock);

impl SharedInfo {
    /// Asks the device below, for version 4 and then for version 3, and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[expect(unsafe_code, reason = "states where the tables come from")]
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        match query::<SharedInfoV4>(below, passive) {
            // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
            // which outlives this reference.
            Ok(table) => unsafe { Self::from_table(table) },
            Err(Status::NOT_SUPPORTED) => {
                let table = query::<SharedInfoV3>(below, passive)?;
                // SAFETY: as above.
                unsafe { Clock::acquire_v3(table) }.map(Self)
            }
            Err(status) => Err(status),
        }
    }

    /// Takes a reference to a service whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(table: SharedInfoV4) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Clock::acquire_v4(table) }.map(Self)
    }

    /// The time now.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn time(&self) -> Time {
        let (ticks, local) = self.0.time();
        Time { ticks, local }
    }
}
