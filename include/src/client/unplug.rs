// SPDX-License-Identifier: BSD-2-Clause
//! Emulated devices: whether they are gone, and asking that they be gone after the next boot.

use core::ffi::CStr;

use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result};

use crate::ffi::query::query;
use crate::ffi::unplug::Service;
use crate::unplug::{DEVICE_TYPE_DISKS, DEVICE_TYPE_NICS, UnplugV3};

/// A kind of emulated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulated {
    /// Network cards.
    Nics,
    /// Disks.
    Disks,
}

impl Emulated {
    fn number(self) -> u32 {
        match self {
            Self::Nics => DEVICE_TYPE_NICS,
            Self::Disks => DEVICE_TYPE_DISKS,
        }
    }
}

/// A reference to the bus driver's unplug service. Every method but the drop runs at PASSIVE_LEVEL and may wait for the registry.
#[derive(Debug)]
pub struct Unplug(Service);

impl Unplug {
    /// Asks the device below and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<UnplugV3>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(table)
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
    pub unsafe fn from_table(table: UnplugV3) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Asks that emulated devices of this kind be gone after the next boot; asked for again at every boot.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn request(&self, kind: Emulated, passive: Passive) {
        self.0.request(kind.number(), true, passive);
    }

    /// Takes one such request back.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn withdraw(&self, kind: Emulated, passive: Passive) {
        self.0.request(kind.number(), false, passive);
    }

    /// Whether this boot was asked to be without emulated devices of this kind.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    pub fn is_requested(&self, kind: Emulated, passive: Passive) -> bool {
        self.0.is_requested(kind.number(), passive)
    }

    /// Whether this boot runs from the emulated disk on purpose.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    pub fn boot_emulated(&self, passive: Passive) -> bool {
        self.0.boot_emulated(passive)
    }

    /// Asks the monitor service to propose a reboot, in the name of a driver.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn reboot(&self, module: &CStr, passive: Passive) {
        self.0.reboot(module, passive);
    }
}
