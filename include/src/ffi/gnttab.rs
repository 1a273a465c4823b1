// SPDX-License-Identifier: BSD-2-Clause
//! Grants over [`GnttabV4`].

use core::ffi::{CStr, c_void};
use core::ptr::{self, NonNull};

use kexec::{Result, Status};

use super::reference::Reference;
use crate::gnttab::{Cache, Entry, GnttabV4};

/// A reference to the grant table.
pub(crate) type Service = Reference<GnttabV4>;

/// The lock routines that the interface wants: the bus calls none for a cache of grants, and needs no exclusion by us.
unsafe extern "C" fn no_lock(_argument: *mut c_void) {}

/// A cache of a service.
///
/// # Invariants
/// A live handle of the service that every method gets as well.
#[derive(Debug)]
pub(crate) struct RawCache(NonNull<Cache>);

/// A grant of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEntry(*mut Entry);

// SAFETY: a handle; the methods may be called on any processor.
unsafe impl Send for RawCache {}
// SAFETY: as above.
unsafe impl Sync for RawCache {}
// SAFETY: a number in the shape of a pointer, which nobody follows.
unsafe impl Send for RawEntry {}
// SAFETY: as above.
unsafe impl Sync for RawEntry {}

impl Service {
    pub(crate) fn create_cache(&self, name: &CStr, reservation: u32, cap: u32) -> Result<RawCache> {
        let mut cache = ptr::null_mut();
        // SAFETY: a reference is held; the routines do nothing; the result is a local.
        let status = unsafe {
            (self.table().create_cache)(
                self.this(),
                name.as_ptr(),
                reservation,
                cap,
                Some(no_lock),
                Some(no_lock),
                ptr::null_mut(),
                &raw mut cache,
            )
        };
        Status::check(status)?;
        NonNull::new(cache)
            .map(RawCache)
            .ok_or(Status::UNSUCCESSFUL)
    }

    /// Ends the cache, which is not used again.
    pub(crate) fn destroy_cache(&self, cache: &RawCache) {
        // SAFETY: a reference is held, and the handle is live; its owner calls this once, in its drop.
        unsafe { (self.table().destroy_cache)(self.this(), cache.0.as_ptr()) };
    }

    pub(crate) fn permit(
        &self,
        cache: &RawCache,
        domain: u16,
        frame: u64,
        read_only: bool,
    ) -> Result<RawEntry> {
        let mut entry = ptr::null_mut();
        // SAFETY: a reference is held, the cache is live, the result is a local.
        let status = unsafe {
            (self.table().permit_foreign_access)(
                self.this(),
                cache.0.as_ptr(),
                0,
                domain,
                frame,
                u8::from(read_only),
                &raw mut entry,
            )
        };
        Status::check(status)?;
        Ok(RawEntry(entry))
    }

    pub(crate) fn revoke(&self, cache: &RawCache, entry: RawEntry) -> Result {
        // SAFETY: a reference is held, the cache is live, the entry is one of its grants.
        let status = unsafe {
            (self.table().revoke_foreign_access)(self.this(), cache.0.as_ptr(), 0, entry.0)
        };
        Status::check(status)
    }

    pub(crate) fn reference(&self, entry: RawEntry) -> u32 {
        // SAFETY: a reference is held, and the entry is a grant that exists.
        unsafe { (self.table().get_reference)(self.this(), entry.0) }
    }

    pub(crate) fn query(&self, reference: u32) -> Result<(u64, bool)> {
        let (mut frame, mut read_only) = (0, 0);
        // SAFETY: a reference is held; the results are locals.
        let status = unsafe {
            (self.table().query_reference)(
                self.this(),
                reference,
                &raw mut frame,
                &raw mut read_only,
            )
        };
        Status::check(status)?;
        Ok((frame, read_only != 0))
    }

    pub(crate) fn map(&self, domain: u16, references: &[u32], read_only: bool) -> Result<u64> {
        let count = u32::try_from(references.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        let mut address = 0;
        // SAFETY: a reference is held; there are `count` references; the result is a local.
        let status = unsafe {
            (self.table().map_foreign_pages)(
                self.this(),
                domain,
                count,
                references.as_ptr(),
                u8::from(read_only),
                &raw mut address,
            )
        };
        Status::check(status)?;
        Ok(address.cast_unsigned())
    }

    pub(crate) fn unmap(&self, address: u64) -> Result {
        // SAFETY: a reference is held; an address that is not mapped is an error.
        let status =
            unsafe { (self.table().unmap_foreign_pages)(self.this(), address.cast_signed()) };
        Status::check(status)
    }
}
