// SPDX-License-Identifier: BSD-2-Clause
//! Time over [`SharedInfoV4`] or [`SharedInfoV3`].

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr;

use kexec::{Result, Status};

use crate::interface::Interface;
use crate::shared_info::{Acquire, GetTime, Release, SharedInfoV3, SharedInfoV4};

/// A reference to the bus driver's shared info.
///
/// # Invariants
/// Header and methods came from one table of a provider of the interface, and a reference is held.
pub(crate) struct Clock {
    interface: Interface,
    release: Release,
    get_time: GetTime,
}

// SAFETY: the table's methods may be called on any processor.
unsafe impl Send for Clock {}
// SAFETY: as above.
unsafe impl Sync for Clock {}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

impl Clock {
    /// Takes a reference by version 4 of the table.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    pub(crate) unsafe fn acquire_v4(table: SharedInfoV4) -> Result<Self> {
        // SAFETY: passed on.
        unsafe {
            Self::acquire(
                table.interface,
                table.acquire,
                table.release,
                table.get_time,
            )
        }
    }

    /// Takes a reference by version 3 of the table.
    ///
    /// # Safety
    /// As [`Self::acquire_v4`].
    pub(crate) unsafe fn acquire_v3(table: SharedInfoV3) -> Result<Self> {
        // SAFETY: passed on.
        unsafe {
            Self::acquire(
                table.interface,
                table.acquire,
                table.release,
                table.get_time,
            )
        }
    }

    /// # Safety
    /// All of one such table.
    unsafe fn acquire(
        interface: Interface,
        acquire: Acquire,
        release: Release,
        get_time: GetTime,
    ) -> Result<Self> {
        let clock = ManuallyDrop::new(Self {
            interface,
            release,
            get_time,
        });
        // SAFETY: `acquire` may be called with any copy of the provider's header.
        Status::check(unsafe { acquire(clock.this()) })?;
        Ok(ManuallyDrop::into_inner(clock))
    }

    fn this(&self) -> *mut Interface {
        ptr::from_ref(&self.interface).cast_mut()
    }

    /// 100 ns units since 1601, and whether that is local time.
    pub(crate) fn time(&self) -> (i64, bool) {
        let (mut time, mut local) = (0, 0);
        // SAFETY: a reference is held; both pointers are valid.
        unsafe { (self.get_time)(self.this(), &raw mut time, &raw mut local) };
        (time, local != 0)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // SAFETY: the reference of the invariant is given back once.
        unsafe { (self.release)(self.this()) };
    }
}
