// SPDX-License-Identifier: BSD-2-Clause
//! The published CACHE interface, versions 1 and 2.
//!
//! A cache of objects of one size in non-paged memory. An object is made when it is first needed, and
//! stays made over any number of puts and gets. The four callbacks are always called at
//! DISPATCH_LEVEL. All methods run at `<= DISPATCH_LEVEL`; `create`, `destroy`, `acquire` and `release`
//! must not be called with the cache's lock held. All caches must be destroyed before the last
//! `release`.

use core::ffi::c_void;
use core::mem::offset_of;

use crate::interface::{Boolean, Guid, Interface, NtStatus, PCStr, table};

/// `GUID_XENBUS_CACHE_INTERFACE`.
pub const GUID: Guid = Guid::from_u128(0xA98DFD78_416A_4949_92A5_E084F2F4B44E);
/// Oldest version answered.
pub const VERSION_MIN: u16 = 1;
/// Newest version answered.
pub const VERSION_MAX: u16 = 2;

/// Longest name, its NUL included.
pub const NAME_MAX: usize = 128;

/// `XENBUS_CACHE`: opaque to requesters.
#[repr(C)]
#[derive(Debug)]
pub struct Cache {
    _opaque: [u8; 0],
}

/// `XENBUS_CACHE_CTOR`: makes an object of zeroed memory, with the cache's lock held.
pub type Ctor = unsafe extern "C" fn(argument: *mut c_void, object: *mut c_void) -> NtStatus;
/// `XENBUS_CACHE_DTOR`: undoes a [`Ctor`] before the memory is given back.
pub type Dtor = unsafe extern "C" fn(argument: *mut c_void, object: *mut c_void);
/// `XENBUS_CACHE_ACQUIRE_LOCK`: takes the lock that the requester gives the cache.
pub type AcquireLock = unsafe extern "C" fn(argument: *mut c_void);
/// `XENBUS_CACHE_RELEASE_LOCK`: releases it.
pub type ReleaseLock = unsafe extern "C" fn(argument: *mut c_void);

/// `CacheAcquire`.
pub type Acquire = unsafe extern "C" fn(this: *mut Interface) -> NtStatus;
/// `CacheRelease`.
pub type Release = unsafe extern "C" fn(this: *mut Interface);
/// `CacheCreateVersion1`: as [`Create`] without a cap.
pub type CreateVersion1 = unsafe extern "C" fn(
    this: *mut Interface,
    name: PCStr,
    size: u32,
    reservation: u32,
    ctor: Option<Ctor>,
    dtor: Option<Dtor>,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus;
/// `CacheCreate`: memory for `reservation` objects is there on return; at most `cap` exist, 0 is no
/// limit. `STATUS_INVALID_PARAMETER` for a reservation above the cap, `STATUS_BUFFER_OVERFLOW` for a
/// name that is too long, `STATUS_NO_MEMORY`, `STATUS_INSUFFICIENT_RESOURCES`.
pub type Create = unsafe extern "C" fn(
    this: *mut Interface,
    name: PCStr,
    size: u32,
    reservation: u32,
    cap: u32,
    ctor: Option<Ctor>,
    dtor: Option<Dtor>,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus;
/// `CacheGet`: an object, or NULL. `locked`: the caller holds the cache's lock or needs none.
pub type Get =
    unsafe extern "C" fn(this: *mut Interface, cache: *mut Cache, locked: Boolean) -> *mut c_void;
/// `CachePut`: gives an object back.
pub type Put = unsafe extern "C" fn(
    this: *mut Interface,
    cache: *mut Cache,
    object: *mut c_void,
    locked: Boolean,
);
/// `CacheDestroy`: all objects must be back.
pub type Destroy = unsafe extern "C" fn(this: *mut Interface, cache: *mut Cache);

/// `XENBUS_CACHE_INTERFACE_V1`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CacheV1 {
    /// Header.
    pub interface: Interface,
    /// `CacheAcquire`.
    pub acquire: Acquire,
    /// `CacheRelease`.
    pub release: Release,
    /// `CacheCreateVersion1`.
    pub create: CreateVersion1,
    /// `CacheGet`.
    pub get: Get,
    /// `CachePut`.
    pub put: Put,
    /// `CacheDestroy`.
    pub destroy: Destroy,
}

/// `XENBUS_CACHE_INTERFACE_V2`: create takes a cap.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CacheV2 {
    /// Header.
    pub interface: Interface,
    /// `CacheAcquire`.
    pub acquire: Acquire,
    /// `CacheRelease`.
    pub release: Release,
    /// `CacheCreate`.
    pub create: Create,
    /// `CacheGet`.
    pub get: Get,
    /// `CachePut`.
    pub put: Put,
    /// `CacheDestroy`.
    pub destroy: Destroy,
}

table!(CacheV1, GUID, 1, 80);
table!(CacheV2, GUID, 2, 80);

const _: () = {
    assert!(offset_of!(CacheV1, release) == 0x28);
    assert!(offset_of!(CacheV1, create) == 0x30);
    assert!(offset_of!(CacheV1, get) == 0x38);
    assert!(offset_of!(CacheV1, put) == 0x40);
    assert!(offset_of!(CacheV1, destroy) == 0x48);
    assert!(offset_of!(CacheV2, release) == 0x28);
    assert!(offset_of!(CacheV2, create) == 0x30);
    assert!(offset_of!(CacheV2, get) == 0x38);
    assert!(offset_of!(CacheV2, put) == 0x40);
    assert!(offset_of!(CacheV2, destroy) == 0x48);
};
