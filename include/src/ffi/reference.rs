// SPDX-License-Identifier: BSD-2-Clause
//! A counted reference to an interface, taken through its table and given back when dropped.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr;

use kexec::{Result, Status};

use crate::interface::{Interface, NtStatus, Table};

/// A table whose first two methods take and give back a reference.
pub trait Counted: Table {
    /// `Acquire`.
    fn acquire(&self) -> unsafe extern "C" fn(*mut Interface) -> NtStatus;
    /// `Release`.
    fn release(&self) -> unsafe extern "C" fn(*mut Interface);
}

macro_rules! counted {
    ($($table:ty),* $(,)?) => { $(
        impl Counted for $table {
            fn acquire(&self) -> unsafe extern "C" fn(*mut Interface) -> NtStatus {
                self.acquire
            }
            fn release(&self) -> unsafe extern "C" fn(*mut Interface) {
                self.release
            }
        }
    )* };
}

counted!(
    crate::cache::CacheV2,
    crate::console::ConsoleV1,
    crate::debug::DebugV1,
    crate::evtchn::EvtchnV9,
    crate::gnttab::GnttabV4,
    crate::range_set::RangeSetV1,
    crate::shared_info::SharedInfoV3,
    crate::shared_info::SharedInfoV4,
    crate::store::StoreV2,
    crate::store_async::AsyncStoreV1,
    crate::suspend::SuspendV1,
    crate::unplug::UnplugV3,
);

/// A held reference.
///
/// # Invariants
/// The table came from a provider of its interface, whose image stays loaded, and one reference is held.
pub struct Reference<T: Counted>(T);

// SAFETY: the methods of every published interface may be called on any processor.
unsafe impl<T: Counted> Send for Reference<T> {}
// SAFETY: as above.
unsafe impl<T: Counted> Sync for Reference<T> {}

impl<T: Counted> fmt::Debug for Reference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reference").finish_non_exhaustive()
    }
}

impl<T: Counted> Reference<T> {
    /// Takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    pub(crate) unsafe fn acquire(table: T) -> Result<Self> {
        let this = ManuallyDrop::new(Self(table));
        // SAFETY: `acquire` may be called with any copy of the provider's table.
        Status::check(unsafe { (this.0.acquire())(this.this()) })?;
        Ok(ManuallyDrop::into_inner(this))
    }

    /// The table's methods; a reference is held.
    pub(crate) fn table(&self) -> &T {
        &self.0
    }

    /// What every method gets first.
    pub(crate) fn this(&self) -> *mut Interface {
        ptr::from_ref(self.0.header()).cast_mut()
    }
}

impl<T: Counted> Drop for Reference<T> {
    fn drop(&mut self) {
        // SAFETY: the reference of the invariant is given back once, and the table is not used again.
        unsafe { (self.0.release())(self.this()) };
    }
}
