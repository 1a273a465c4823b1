// SPDX-License-Identifier: BSD-2-Clause
//! CACHE, versions 1 and 2.

use core::ffi::{c_char, c_void};
use core::ptr;

use kexec::nt::Arc;
use kexec::{Result, Status};
use xenbus_interface::cache::{
    self as raw, AcquireLock, CacheV1, CacheV2, Ctor, Dtor, ReleaseLock,
};
use xenbus_interface::{Interface, NtStatus};

use super::{acquire, bus, fdo, handle, peek, release, take, text};
use crate::cache::{Cache, Limits, Owner};
use crate::range_set::check_name;

pub(super) fn v1(context: *mut c_void) -> CacheV1 {
    CacheV1 {
        interface: Interface::of::<CacheV1>(context),
        acquire: table_acquire,
        release: table_release,
        create: create_v1,
        get,
        put,
        destroy,
    }
}

pub(super) fn v2(context: *mut c_void) -> CacheV2 {
    CacheV2 {
        interface: Interface::of::<CacheV2>(context),
        acquire: table_acquire,
        release: table_release,
        create,
        get,
        put,
        destroy,
    }
}

/// The routines of a child. They are called at DISPATCH_LEVEL, and not after the cache was destroyed.
pub(in crate::ffi) struct Child {
    ctor: Ctor,
    dtor: Dtor,
    acquire: AcquireLock,
    release: ReleaseLock,
    argument: *mut c_void,
}

// SAFETY: the child's contract: its routines may be called on any processor, with its argument.
unsafe impl Send for Child {}
// SAFETY: as above.
unsafe impl Sync for Child {}

impl Owner for Child {
    fn construct(&self, object: usize) -> Result {
        let object = ptr::with_exposed_provenance_mut(object);
        // SAFETY: the child's contract: at DISPATCH_LEVEL, with an object of the size that it asked for.
        Status::check(unsafe { (self.ctor)(self.argument, object) })
    }

    fn destruct(&self, object: usize) {
        let object = ptr::with_exposed_provenance_mut(object);
        // SAFETY: as above, for an object that was constructed.
        unsafe { (self.dtor)(self.argument, object) };
    }

    fn acquire(&self) {
        // SAFETY: the child's contract: at DISPATCH_LEVEL.
        unsafe { (self.acquire)(self.argument) };
    }

    fn release(&self) {
        // SAFETY: as above; taken by `acquire`.
        unsafe { (self.release)(self.argument) };
    }
}

unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let bus = unsafe { bus(this) };
    // SAFETY: the table's contract.
    acquire(&unsafe { fdo(this) }.references().cache, bus)
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().cache);
}

unsafe extern "C" fn create(
    this: *mut Interface,
    name: *const c_char,
    size: u32,
    reservation: u32,
    cap: u32,
    ctor: Option<Ctor>,
    dtor: Option<Dtor>,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut raw::Cache,
) -> NtStatus {
    let made = (|| -> Result<*mut raw::Cache> {
        // SAFETY: the table's contract.
        check_name(unsafe { text(name) }.ok_or(Status::INVALID_PARAMETER)?)?;
        let (Some(ctor), Some(dtor), Some(acquire), Some(release), false) =
            (ctor, dtor, acquire_lock, release_lock, cache.is_null())
        else {
            return Err(Status::INVALID_PARAMETER);
        };
        let child = Child {
            ctor,
            dtor,
            acquire,
            release,
            argument,
        };
        let limits = Limits {
            size,
            reservation,
            cap,
        };
        // SAFETY: the table's contract.
        let bus = unsafe { bus(this)? };
        let made = bus.caches().create(child, limits)?;
        handle(made.clone()).inspect_err(|_| bus.caches().destroy(&made))
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

unsafe extern "C" fn create_v1(
    this: *mut Interface,
    name: *const c_char,
    size: u32,
    reservation: u32,
    ctor: Option<Ctor>,
    dtor: Option<Dtor>,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut raw::Cache,
) -> NtStatus {
    // SAFETY: passed on.
    unsafe {
        create(
            this,
            name,
            size,
            reservation,
            0,
            ctor,
            dtor,
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
/// A handle of `create` that is not destroyed during `'a`.
unsafe fn cache_of<'a>(handle: *mut raw::Cache) -> Option<&'a Arc<Cache<Child>>> {
    // SAFETY: by the contract.
    unsafe { peek(handle) }
}

unsafe extern "C" fn get(_this: *mut Interface, cache: *mut raw::Cache, locked: u8) -> *mut c_void {
    // SAFETY: the table's contract.
    let cache = unsafe { cache_of(cache) };
    let object = cache.and_then(|cache| cache.get(locked != 0).ok());
    object.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
}

unsafe extern "C" fn put(
    _this: *mut Interface,
    cache: *mut raw::Cache,
    object: *mut c_void,
    _locked: u8,
) {
    // SAFETY: the table's contract.
    if let Some(cache) = unsafe { cache_of(cache) } {
        cache.put(object.expose_provenance());
    }
}

unsafe extern "C" fn destroy(this: *mut Interface, cache: *mut raw::Cache) {
    // SAFETY: the table's contract: destroyed once.
    let Some(cache) = (unsafe { take::<Arc<Cache<Child>>, _>(cache) }) else {
        return;
    };
    // SAFETY: the table's contract.
    match unsafe { bus(this) } {
        Ok(bus) => bus.caches().destroy(&cache),
        Err(_) => drop(cache.destroy()),
    }
}
