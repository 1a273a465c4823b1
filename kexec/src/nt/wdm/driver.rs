// SPDX-License-Identifier: BSD-2-Clause
//! The driver object.

use core::ptr::NonNull;

use crate::nt::sys::{DRIVER_OBJECT, PDRIVER_ADD_DEVICE, PDRIVER_DISPATCH, PDRIVER_UNLOAD};

/// The driver object that DriverEntry was given. The I/O manager owns it; it lives until the unload routine has returned.
///
/// # Invariants
/// Points to a valid driver object.
///
/// # IRQL
/// As said at each method.
#[derive(Clone, Copy, Debug)]
pub struct Driver(NonNull<DRIVER_OBJECT>);

// SAFETY: a driver object may be used from any thread; the setters are for DriverEntry, which runs once.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Wraps DriverEntry's argument.
    ///
    /// # Safety
    /// `driver` is the object passed to DriverEntry, and no copy of the value outlives the driver.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub unsafe fn from_raw(driver: *mut DRIVER_OBJECT) -> Option<Self> {
        NonNull::new(driver).map(Self)
    }

    /// The raw object.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_raw(self) -> *mut DRIVER_OBJECT {
        self.0.as_ptr()
    }

    /// Sets the unload routine.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL, from DriverEntry.
    pub fn set_unload(self, unload: PDRIVER_UNLOAD) {
        // SAFETY: valid by the type's invariant; only DriverEntry writes the field.
        unsafe { (*self.as_raw()).DriverUnload = Some(unload) };
    }

    /// Sets the AddDevice routine.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL, from DriverEntry.
    pub fn set_add_device(self, add_device: PDRIVER_ADD_DEVICE) {
        // SAFETY: valid by the type's invariant.
        let extension = unsafe { (*self.as_raw()).DriverExtension };
        // SAFETY: the I/O manager made the extension together with the object; only DriverEntry writes the field.
        unsafe { (*extension).AddDevice = Some(add_device) };
    }

    /// Makes `dispatch` the routine of every major function.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL, from DriverEntry.
    pub fn set_dispatch(self, dispatch: PDRIVER_DISPATCH) {
        // SAFETY: valid by the type's invariant; only DriverEntry writes the table.
        unsafe { (*self.as_raw()).MajorFunction = [Some(dispatch); 28] };
    }
}
