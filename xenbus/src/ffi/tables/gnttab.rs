// SPDX-License-Identifier: BSD-2-Clause
//! GNTTAB, versions 2 to 4.
//!
//! A grant's handle is its number, not a pointer: what a child passes is checked before it is used. The children's lock routines
//! are asked for and not called: no state of a grant cache needs them.

use core::ffi::c_void;

use kexec::{Result, Status};
use xenbus_interface::gnttab::{
    self as raw, AcquireLock, Entry, GnttabV2, GnttabV3, GnttabV4, ReleaseLock,
};
use xenbus_interface::{Interface, NtStatus, PCStr};

use super::super::grants::Grants;
use super::{bus, fdo, handle, peek, release, take, text};
use crate::gnttab::{Cache, Grant};
use crate::range_set::NAME_LEN;
use crate::status::BUFFER_OVERFLOW;

/// What the published interface puts behind a cache's name.
const SUFFIX: &[u8] = b"_gnttab";

macro_rules! tables {
    ($($name:ident: $table:ident { $($field:ident: $value:expr),* $(,)? };)*) => { $(
        pub(super) fn $name(context: *mut c_void) -> $table {
            $table {
                interface: Interface::of::<$table>(context),
                acquire: table_acquire,
                release: table_release,
                permit_foreign_access,
                revoke_foreign_access,
                get_reference,
                destroy_cache,
                map_foreign_pages,
                unmap_foreign_pages,
                $($field: $value),*
            }
        }
    )* };
}

tables! {
    v2: GnttabV2 { create_cache: create_cache_v1 };
    v3: GnttabV3 { create_cache: create_cache_v1, query_reference: query_reference };
    v4: GnttabV4 { create_cache: create_cache, query_reference: query_reference };
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    let bus = bus.and_then(|bus| bus.grants().map(drop).map(|()| bus.clone()));
    // SAFETY: the table's contract.
    super::acquire(&unsafe { fdo(this) }.references().gnttab, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().gnttab);
}

unsafe extern "C" fn create_cache(
    this: *mut Interface,
    name: PCStr,
    reservation: u32,
    cap: u32,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    _argument: *mut c_void,
    cache: *mut *mut raw::Cache,
) -> NtStatus {
    let made = (|| -> Result<*mut raw::Cache> {
        // SAFETY: the table's contract.
        let name = unsafe { text(name) }.ok_or(Status::INVALID_PARAMETER)?;
        if cache.is_null() || acquire_lock.is_none() || release_lock.is_none() {
            return Err(Status::INVALID_PARAMETER);
        }
        if name.len() + SUFFIX.len() > NAME_LEN {
            return Err(BUFFER_OVERFLOW);
        }
        // SAFETY: the table's contract.
        let bus = unsafe { bus(this)? };
        handle(Cache::try_new(bus.grants()?, reservation, cap)?)
    })();
    match made {
        Ok(made) => {
            // SAFETY: not NULL, so valid by the table's contract.
            unsafe { cache.write(made) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn create_cache_v1(
    this: *mut Interface,
    name: PCStr,
    reservation: u32,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut raw::Cache,
) -> NtStatus {
    // SAFETY: passed on.
    unsafe {
        create_cache(
            this,
            name,
            reservation,
            0,
            acquire_lock,
            release_lock,
            argument,
            cache,
        )
    }
}

/// The cache of a handle.
///
/// # Safety
/// A handle of `create_cache` that is not destroyed during `'a`.
unsafe fn cache_of<'a>(handle: *mut raw::Cache) -> Option<&'a Cache<Grants>> {
    // SAFETY: by the contract.
    unsafe { peek(handle) }
}

fn to_entry(grant: Grant) -> *mut Entry {
    core::ptr::without_provenance_mut(grant.to_bits() as usize)
}

fn to_grant(entry: *mut Entry) -> Grant {
    Grant::from_bits(entry.addr() as u64)
}

unsafe extern "C" fn permit_foreign_access(
    _this: *mut Interface,
    cache: *mut raw::Cache,
    _locked: u8,
    domain: u16,
    pfn: u64,
    read_only: u8,
    entry: *mut *mut Entry,
) -> NtStatus {
    // SAFETY: the table's contract.
    let cache = unsafe { cache_of(cache) }.filter(|_| !entry.is_null());
    let Some(cache) = cache else {
        return Status::INVALID_PARAMETER.raw();
    };
    match cache.permit(domain, pfn, read_only != 0) {
        Ok(grant) => {
            // SAFETY: not NULL, so valid by the table's contract.
            unsafe { entry.write(to_entry(grant)) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn revoke_foreign_access(
    _this: *mut Interface,
    cache: *mut raw::Cache,
    _locked: u8,
    entry: *mut Entry,
) -> NtStatus {
    // SAFETY: the table's contract.
    match unsafe { cache_of(cache) } {
        Some(cache) => Status::of(&cache.revoke(to_grant(entry))),
        None => Status::INVALID_PARAMETER.raw(),
    }
}

unsafe extern "C" fn get_reference(_this: *mut Interface, entry: *mut Entry) -> u32 {
    to_grant(entry).reference()
}

unsafe extern "C" fn query_reference(
    this: *mut Interface,
    reference: u32,
    pfn: *mut u64,
    read_only: *mut u8,
) -> NtStatus {
    // SAFETY: the table's contract.
    let fdo = unsafe { fdo(this) };
    let found = fdo.gate().visit(|bus| bus.grants()?.query(reference));
    let found = found.unwrap_or(Err(Status::DEVICE_NOT_READY));
    match found {
        Ok(found) => {
            if !pfn.is_null() {
                // SAFETY: not NULL, so valid by the table's contract.
                unsafe { pfn.write(u64::from(found.frame)) };
            }
            if !read_only.is_null() {
                // SAFETY: as above.
                unsafe { read_only.write(u8::from(found.read_only())) };
            }
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn destroy_cache(_this: *mut Interface, cache: *mut raw::Cache) {
    // SAFETY: the table's contract: destroyed once.
    drop(unsafe { take::<Cache<Grants>, _>(cache) });
}

unsafe extern "C" fn map_foreign_pages(
    this: *mut Interface,
    domain: u16,
    number_pages: u32,
    references: *const u32,
    read_only: u8,
    address: *mut i64,
) -> NtStatus {
    if references.is_null() || address.is_null() || number_pages == 0 {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: not NULL, so that many by the table's contract.
    let references = unsafe { core::slice::from_raw_parts(references, number_pages as usize) };
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    let mapped = bus.and_then(|bus| {
        bus.grants()?
            .map_foreign(domain, references, read_only != 0)
    });
    let (at, status) = match mapped {
        Ok(at) => (at, 0),
        Err(status) => (0, status.raw()),
    };
    // SAFETY: not NULL, so valid by the table's contract.
    unsafe { address.write(at.cast_signed()) };
    status
}

unsafe extern "C" fn unmap_foreign_pages(this: *mut Interface, address: i64) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    let unmapped = bus.and_then(|bus| bus.grants()?.unmap_foreign(address.cast_unsigned()));
    Status::of(&unmapped)
}
