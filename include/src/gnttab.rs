// SPDX-License-Identifier: BSD-2-Clause
//! The published GNTTAB interface, versions 2 to 4.
//!
//! A grant cache is a cache ([`crate::cache`]) whose objects own one grant reference each; the rules
//! of its lock callbacks, `locked`, reservation and cap hold. Grants survive a suspend only as handles:
//! what a new backend is to see must be granted again. All grant caches must be destroyed before the
//! last `release`. Methods run at `<= DISPATCH_LEVEL` unless they say otherwise.

use core::ffi::c_void;
use core::mem::offset_of;

pub use crate::cache::{AcquireLock, ReleaseLock};
use crate::interface::{
    Boolean, Guid, Interface, NtStatus, PCStr, PfnNumber, PhysicalAddress, table,
};

/// `GUID_XENBUS_GNTTAB_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0x763679C5_E5C2_4A6D_8B88_6BB02EC42D8E);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 2;
/// Newest version answered.
pub const VERSION_MAX: u16 = 4;

/// `XENBUS_GNTTAB_CONSOLE_REFERENCE`.
pub const CONSOLE_REFERENCE: u32 = 0;
/// `XENBUS_GNTTAB_STORE_REFERENCE`.
pub const STORE_REFERENCE: u32 = 1;

/// `XENBUS_GNTTAB_CACHE`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Cache {
    _opaque: [u8; 0],
}

/// `XENBUS_GNTTAB_ENTRY`: one grant, opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Entry {
    _opaque: [u8; 0],
}

/// `GnttabAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `GnttabRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `GnttabCreateCacheVersion1`: as [`CreateCache`] without a cap.
pub type CreateCacheVersion1 = unsafe extern "C" fn(
    this: *mut Interface,
    name: PCStr,
    reservation: u32,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus;
/// `GnttabCreateCache`: statuses are those of [`crate::cache::Create`].
pub type CreateCache = unsafe extern "C" fn(
    this: *mut Interface,
    name: PCStr,
    reservation: u32,
    cap: u32,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus;
/// `GnttabPermitForeignAccess`: grants a page; `STATUS_INSUFFICIENT_RESOURCES` when the table is full.
pub type PermitForeignAccess = unsafe extern "C" fn(
    this: *mut Interface,
    cache: *mut Cache,
    locked: Boolean,
    domain: u16,
    pfn: PfnNumber,
    read_only: Boolean,
    entry: *mut *mut Entry,
) -> NtStatus;
/// `GnttabRevokeForeignAccess`: on failure the peer still uses the page, and the entry is the caller's.
pub type RevokeForeignAccess = unsafe extern "C" fn(
    this: *mut Interface,
    cache: *mut Cache,
    locked: Boolean,
    entry: *mut Entry,
) -> NtStatus;
/// `GnttabGetReference`: the number to tell the peer. Any IRQL.
pub type GetReference = unsafe extern "C" fn(this: *mut Interface, entry: *mut Entry) -> u32;
/// `GnttabQueryReference`: what the live entry says; both results may be NULL. Any IRQL.
/// `STATUS_INVALID_PARAMETER` beyond the frames of the table.
pub type QueryReference = unsafe extern "C" fn(
    this: *mut Interface,
    reference: u32,
    pfn: *mut PfnNumber,
    read_only: *mut Boolean,
) -> NtStatus;
/// `GnttabDestroyCache`.
pub type DestroyCache = unsafe extern "C" fn(this: *mut Interface, cache: *mut Cache);
/// `GnttabMapForeignPages`: maps another domain's pages one behind the other, all or none.
pub type MapForeignPages = unsafe extern "C" fn(
    this: *mut Interface,
    domain: u16,
    number_pages: u32,
    references: *const u32,
    read_only: Boolean,
    address: *mut PhysicalAddress,
) -> NtStatus;
/// `GnttabUnmapForeignPages`: `STATUS_OBJECT_NAME_NOT_FOUND` for an address that was not mapped.
pub type UnmapForeignPages =
    unsafe extern "C" fn(this: *mut Interface, address: PhysicalAddress) -> NtStatus;

/// `XENBUS_GNTTAB_INTERFACE_V2`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GnttabV2 {
    /// Header.
    pub interface: Interface,
    /// `GnttabAcquire`.
    pub acquire: Acquire,
    /// `GnttabRelease`.
    pub release: Release,
    /// `GnttabCreateCacheVersion1`.
    pub create_cache: CreateCacheVersion1,
    /// `GnttabPermitForeignAccess`.
    pub permit_foreign_access: PermitForeignAccess,
    /// `GnttabRevokeForeignAccess`.
    pub revoke_foreign_access: RevokeForeignAccess,
    /// `GnttabGetReference`.
    pub get_reference: GetReference,
    /// `GnttabDestroyCache`.
    pub destroy_cache: DestroyCache,
    /// `GnttabMapForeignPages`.
    pub map_foreign_pages: MapForeignPages,
    /// `GnttabUnmapForeignPages`.
    pub unmap_foreign_pages: UnmapForeignPages,
}

/// `XENBUS_GNTTAB_INTERFACE_V3`: references can be queried.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GnttabV3 {
    /// Header.
    pub interface: Interface,
    /// `GnttabAcquire`.
    pub acquire: Acquire,
    /// `GnttabRelease`.
    pub release: Release,
    /// `GnttabCreateCacheVersion1`.
    pub create_cache: CreateCacheVersion1,
    /// `GnttabPermitForeignAccess`.
    pub permit_foreign_access: PermitForeignAccess,
    /// `GnttabRevokeForeignAccess`.
    pub revoke_foreign_access: RevokeForeignAccess,
    /// `GnttabGetReference`.
    pub get_reference: GetReference,
    /// `GnttabQueryReference`.
    pub query_reference: QueryReference,
    /// `GnttabDestroyCache`.
    pub destroy_cache: DestroyCache,
    /// `GnttabMapForeignPages`.
    pub map_foreign_pages: MapForeignPages,
    /// `GnttabUnmapForeignPages`.
    pub unmap_foreign_pages: UnmapForeignPages,
}

/// `XENBUS_GNTTAB_INTERFACE_V4`: caches have a cap.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GnttabV4 {
    /// Header.
    pub interface: Interface,
    /// `GnttabAcquire`.
    pub acquire: Acquire,
    /// `GnttabRelease`.
    pub release: Release,
    /// `GnttabCreateCache`.
    pub create_cache: CreateCache,
    /// `GnttabPermitForeignAccess`.
    pub permit_foreign_access: PermitForeignAccess,
    /// `GnttabRevokeForeignAccess`.
    pub revoke_foreign_access: RevokeForeignAccess,
    /// `GnttabGetReference`.
    pub get_reference: GetReference,
    /// `GnttabQueryReference`.
    pub query_reference: QueryReference,
    /// `GnttabDestroyCache`.
    pub destroy_cache: DestroyCache,
    /// `GnttabMapForeignPages`.
    pub map_foreign_pages: MapForeignPages,
    /// `GnttabUnmapForeignPages`.
    pub unmap_foreign_pages: UnmapForeignPages,
}

table!(GnttabV2, GUID, 2, 104);
table!(GnttabV3, GUID, 3, 112);
table!(GnttabV4, GUID, 4, 112);

const _: () = {
    assert!(offset_of!(GnttabV2, release) == 0x28);
    assert!(offset_of!(GnttabV2, create_cache) == 0x30);
    assert!(offset_of!(GnttabV2, permit_foreign_access) == 0x38);
    assert!(offset_of!(GnttabV2, revoke_foreign_access) == 0x40);
    assert!(offset_of!(GnttabV2, get_reference) == 0x48);
    assert!(offset_of!(GnttabV2, destroy_cache) == 0x50);
    assert!(offset_of!(GnttabV2, map_foreign_pages) == 0x58);
    assert!(offset_of!(GnttabV2, unmap_foreign_pages) == 0x60);
    assert!(offset_of!(GnttabV3, release) == 0x28);
    assert!(offset_of!(GnttabV3, create_cache) == 0x30);
    assert!(offset_of!(GnttabV3, permit_foreign_access) == 0x38);
    assert!(offset_of!(GnttabV3, revoke_foreign_access) == 0x40);
    assert!(offset_of!(GnttabV3, get_reference) == 0x48);
    assert!(offset_of!(GnttabV3, query_reference) == 0x50);
    assert!(offset_of!(GnttabV3, destroy_cache) == 0x58);
    assert!(offset_of!(GnttabV3, map_foreign_pages) == 0x60);
    assert!(offset_of!(GnttabV3, unmap_foreign_pages) == 0x68);
    assert!(offset_of!(GnttabV4, release) == 0x28);
    assert!(offset_of!(GnttabV4, create_cache) == 0x30);
    assert!(offset_of!(GnttabV4, permit_foreign_access) == 0x38);
    assert!(offset_of!(GnttabV4, revoke_foreign_access) == 0x40);
    assert!(offset_of!(GnttabV4, get_reference) == 0x48);
    assert!(offset_of!(GnttabV4, query_reference) == 0x50);
    assert!(offset_of!(GnttabV4, destroy_cache) == 0x58);
    assert!(offset_of!(GnttabV4, map_foreign_pages) == 0x60);
    assert!(offset_of!(GnttabV4, unmap_foreign_pages) == 0x68);
};
