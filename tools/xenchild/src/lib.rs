// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

mod ffi;
pub mod measure;

use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result};

pub use ffi::{counter, driver_entry, routine, unload};

/// What exists while the device is started.
pub trait Child: Send + Sized + 'static {
    /// For the log.
    const NAME: &str;
    /// Starts on the device `below`, which answers the interface queries.
    ///
    /// # Errors
    /// Fails START_DEVICE.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    fn start(below: DevicePtr, passive: Passive) -> Result<Self>;
    /// Stops; returns when nothing of it is left.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    fn stop(self, passive: Passive);
}

/// Defines the image's DriverEntry for a [`Child`]; the crate allows unsafe code there.
#[macro_export]
macro_rules! entry {
    ($child:ty) => {
        #[unsafe(no_mangle)]
        unsafe extern "system" fn DriverEntry(
            driver: *mut kexec::nt::sys::DRIVER_OBJECT,
            _path: *const kexec::nt::sys::UNICODE_STRING,
        ) -> i32 {
            // SAFETY: the I/O manager's driver object, in its DriverEntry.
            unsafe { $crate::driver_entry::<$child>(driver) }
        }
    };
}
