// SPDX-License-Identifier: BSD-2-Clause
//! Caches of objects over [`CacheV2`].

use core::ffi::{CStr, c_void};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use kexec::nt::{Box, SpinLock, Tag};
use kexec::{Result, Status};

use super::reference::Reference;
use crate::cache::{Cache, CacheV2};
use crate::interface::NtStatus;

/// A reference to the caches.
pub(crate) type Service = Reference<CacheV2>;

/// What the callbacks get.
struct Context<F> {
    /// The lock that the interface wants of its user.
    lock: SpinLock<()>,
    make: F,
}

/// A cache of a service.
///
/// # Invariants
/// A live handle, whose callbacks are those of `T` and `F` with `context` as their argument.
pub(crate) struct RawCache<'a, T, F> {
    handle: Handle<'a>,
    /// Freed after the cache has ended.
    _context: Box<Context<F>>,
    _objects: PhantomData<fn() -> T>,
}

/// What the methods of a cache get.
struct Handle<'a> {
    service: &'a Service,
    cache: NonNull<Cache>,
}

/// An object of a cache, in use.
///
/// # Invariants
/// Made by `T`'s constructor, not put back; nobody else has it.
pub(crate) struct RawObject<'a, T> {
    handle: &'a Handle<'a>,
    object: NonNull<T>,
}

// SAFETY: a handle, whose methods may be called on any processor.
unsafe impl Send for Handle<'_> {}
// SAFETY: as above.
unsafe impl Sync for Handle<'_> {}
// SAFETY: owns a `T`; may be put back on any processor.
unsafe impl<T: Send> Send for RawObject<'_, T> {}
// SAFETY: gives out shared references to a `T` only.
unsafe impl<T: Sync> Sync for RawObject<'_, T> {}

impl<T, F> fmt::Debug for RawCache<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn create<T: Send, F: Fn() -> Result<T> + Send + Sync>(
        &self,
        tag: Tag,
        name: &CStr,
        (reservation, cap): (u32, u32),
        make: F,
    ) -> Result<RawCache<'_, T, F>> {
        const {
            assert!(align_of::<T>() <= 8, "objects are aligned to 8 bytes");
        }
        // Nothing at all has an address too.
        let size = u32::try_from(size_of::<T>().max(1)).map_err(|_| Status::INVALID_PARAMETER)?;
        let lock = SpinLock::new(());
        let context = Box::try_new(tag, Context { lock, make })?;
        let argument = ptr::from_ref(&*context).cast_mut();
        let mut cache = ptr::null_mut();
        // SAFETY: a reference is held; the name ends in NUL and is only read; the context is a pool block that is freed after the
        // cache has ended, or not at all been made; the result is a local.
        let status = unsafe {
            (self.table().create)(
                self.this(),
                name.as_ptr(),
                size,
                reservation,
                cap,
                Some(construct::<T, F>),
                Some(destruct::<T>),
                Some(acquire_lock::<F>),
                Some(release_lock::<F>),
                argument.cast(),
                &raw mut cache,
            )
        };
        Status::check(status)?;
        Ok(RawCache {
            handle: Handle {
                service: self,
                cache: NonNull::new(cache).ok_or(Status::UNSUCCESSFUL)?,
            },
            _context: context,
            _objects: PhantomData,
        })
    }
}

impl<T, F> RawCache<'_, T, F> {
    pub(crate) fn get(&self) -> Option<RawObject<'_, T>> {
        let Handle { service, cache } = &self.handle;
        // SAFETY: a reference is held, the cache is live, and its lock is not ours.
        let object = unsafe { (service.table().get)(service.this(), cache.as_ptr(), 0) };
        Some(RawObject {
            handle: &self.handle,
            object: NonNull::new(object.cast())?,
        })
    }
}

// Here and not in the handle: what the objects borrow must outlive the cache, which drops them.
impl<T, F> Drop for RawCache<'_, T, F> {
    fn drop(&mut self) {
        let Handle { service, cache } = &self.handle;
        // SAFETY: a reference is held; the handle is live and not used again; every object borrows it, so all are back.
        unsafe { (service.table().destroy)(service.this(), cache.as_ptr()) };
    }
}

impl<T> RawObject<'_, T> {
    pub(crate) fn get(&self) -> &T {
        // SAFETY: by the invariant.
        unsafe { self.object.as_ref() }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant, and `self` is borrowed for writing.
        unsafe { self.object.as_mut() }
    }
}

impl<T> Drop for RawObject<'_, T> {
    fn drop(&mut self) {
        let Handle { service, cache } = self.handle;
        let object = self.object.as_ptr().cast();
        // SAFETY: a reference is held, the cache is live, the object is one of it and given back once; the lock is not ours.
        unsafe { (service.table().put)(service.this(), cache.as_ptr(), object, 0) };
    }
}

/// # Safety
/// `argument` is the context of a live cache, and `object` its memory for one `T`, in which there is none.
unsafe extern "C" fn construct<T, F: Fn() -> Result<T>>(
    argument: *mut c_void,
    object: *mut c_void,
) -> NtStatus {
    // SAFETY: by the contract; the context is only shared.
    let context = unsafe { &*argument.cast_const().cast::<Context<F>>() };
    match (context.make)() {
        Ok(made) => {
            // SAFETY: by the contract; aligned to 8 bytes, which is enough.
            unsafe { object.cast::<T>().write(made) };
            0
        }
        Err(status) => status.raw(),
    }
}

/// # Safety
/// `object` is a `T` that [`construct`] made and that nobody uses.
unsafe extern "C" fn destruct<T>(_argument: *mut c_void, object: *mut c_void) {
    // SAFETY: by the contract.
    unsafe { object.cast::<T>().drop_in_place() };
}

/// # Safety
/// `argument` is the context of a live cache; at DISPATCH_LEVEL.
unsafe extern "C" fn acquire_lock<F>(argument: *mut c_void) {
    // SAFETY: by the contract.
    let context = unsafe { &*argument.cast_const().cast::<Context<F>>() };
    context.lock.hold();
}

/// # Safety
/// As [`acquire_lock`], which was called on this processor before.
unsafe extern "C" fn release_lock<F>(argument: *mut c_void) {
    // SAFETY: by the contract.
    let context = unsafe { &*argument.cast_const().cast::<Context<F>>() };
    // SAFETY: held, by the contract.
    unsafe { context.lock.let_go() };
}
