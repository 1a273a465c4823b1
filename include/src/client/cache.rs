// SPDX-License-Identifier: BSD-2-Clause
//! Caches of objects that are dear to make: made when first needed, kept made while they lie in the cache.
//!
//! ```no_run
//! # use kexec::{Passive, Result, nt::{Tag, wdm::DevicePtr}};
//! # fn run(below: DevicePtr, passive: Passive) -> Result {
//! use xenbus_interface::client::Caches;
//!
//! struct Packet {
//!     bytes: [u8; 64],
//! }
//!
//! let caches = Caches::open(below, passive)?;
//! let packets = caches.cache(Tag(*b"DEMO"), c"packets", 16, 0, || Ok(Packet { bytes: [0; 64] }))?;
//! let mut packet = packets.get()?;
//! packet.bytes[0] = 7;
//! // Into the cache again, the 7 in it.
//! drop(packet);
//! # Ok(())
//! # }
//! ```
//!
//! # IRQL
//! <= DISPATCH_LEVEL.

use core::ffi::CStr;
use core::fmt;
use core::ops::{Deref, DerefMut};

use kexec::nt::Tag;
use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result, Status};

use crate::cache::CacheV2;
use crate::ffi::cache::{RawCache, RawObject, Service};
use crate::ffi::query::query;

/// A reference to the bus driver's caches.
#[derive(Debug)]
pub struct Caches(Service);

impl Caches {
    /// Asks the device below for version 2, in which caches have a cap, and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<CacheV2>(below, passive)?;
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
    pub unsafe fn from_table(table: CacheV2) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Makes a cache: memory for `reservation` objects at once, and at most `cap` objects (0: no limit). `tag` is that of the pool
    /// block that the cache itself needs.
    ///
    /// `make` makes an object; it runs at DISPATCH_LEVEL with the cache's lock held, so it must not use the cache. Objects are
    /// dropped in the same way, some time after they have come back, and at the end.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the reservation is above the cap. `INSUFFICIENT_RESOURCES`, `NO_MEMORY`: it cannot be met.
    /// `BUFFER_OVERFLOW`: the name has more than 127 characters.
    pub fn cache<T: Send, F: Fn() -> Result<T> + Send + Sync>(
        &self,
        tag: Tag,
        name: &CStr,
        reservation: u32,
        cap: u32,
        make: F,
    ) -> Result<Cache<'_, T, F>> {
        let cache = self.0.create(tag, name, (reservation, cap), make)?;
        Ok(Cache(cache))
    }
}

/// A cache of objects of one type, with an alignment of at most 8 bytes. Dropped after all of them.
pub struct Cache<'a, T, F>(RawCache<'a, T, F>);

impl<T, F> fmt::Debug for Cache<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, F> Cache<'_, T, F> {
    /// An object: one that was used before, as it was left, or a new one.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`: the cap is reached, there is no memory, or it could not be made.
    pub fn get(&self) -> Result<Object<'_, T>> {
        let object = self.0.get();
        object.map(Object).ok_or(Status::INSUFFICIENT_RESOURCES)
    }
}

/// An object in use; goes back into its cache when dropped.
pub struct Object<'a, T>(RawObject<'a, T>);

impl<T: fmt::Debug> fmt::Debug for Object<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Deref for Object<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.get()
    }
}

impl<T> DerefMut for Object<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
