// SPDX-License-Identifier: BSD-2-Clause
//! Caches over a scripted table: one that makes objects late, keeps them, and ends them as the contract says.

use core::ffi::{c_char, c_void};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::boxed::Box;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use kexec::Status;
use kexec::irql::Raised;
use kexec::nt::sys::fake;

use super::TAG;
use crate::cache::{AcquireLock, Cache, CacheV2, Ctor, Dtor, ReleaseLock};
use crate::client::Caches;
use crate::interface::{Interface, NtStatus};

/// What `create` was told.
#[derive(Clone, Copy)]
struct Callbacks {
    size: u32,
    cap: u32,
    ctor: Ctor,
    dtor: Dtor,
    acquire: AcquireLock,
    release: ReleaseLock,
    argument: usize,
}

#[derive(Default)]
struct Provider {
    references: AtomicUsize,
    callbacks: Mutex<Option<Callbacks>>,
    /// Constructed, in the cache; and how many are in use.
    idle: Mutex<Vec<usize>>,
    used: AtomicUsize,
}

impl Provider {
    fn table(&self) -> CacheV2 {
        CacheV2 {
            interface: Interface::of::<CacheV2>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            create,
            get,
            put,
            destroy,
        }
    }

    /// # Safety
    /// `this` is a copy of the provider's table.
    unsafe fn of<'a>(this: *mut Interface) -> &'a Self {
        // SAFETY: by the contract.
        let context = unsafe { (*this).context };
        // SAFETY: the provider outlives what is made from it.
        unsafe { &*context.cast::<Self>() }
    }

    fn open(&self) -> Caches {
        // SAFETY: the provider outlives it.
        unsafe { Caches::from_table(self.table()) }.expect("taken")
    }

    /// Runs `f` at DISPATCH_LEVEL with the user's lock held.
    fn locked<R>(&self, f: impl FnOnce(&Callbacks) -> R) -> R {
        let callbacks = self.callbacks.lock().expect("lock").expect("a cache");
        let _raised = Raised::to_dispatch();
        // SAFETY: at DISPATCH_LEVEL, with the argument.
        unsafe { (callbacks.acquire)(callbacks.argument as *mut c_void) };
        let result = f(&callbacks);
        // SAFETY: held.
        unsafe { (callbacks.release)(callbacks.argument as *mut c_void) };
        result
    }

    /// Ends an object that lies in the cache: what the upkeep of a real one does.
    fn reclaim(&self) {
        let object = self.idle.lock().expect("lock").pop();
        if let Some(object) = object {
            self.locked(|callbacks| {
                // SAFETY: constructed, and nobody uses it.
                unsafe {
                    (callbacks.dtor)(callbacks.argument as *mut c_void, object as *mut c_void)
                };
            });
            // SAFETY: of `get`.
            drop(unsafe { Box::from_raw(object as *mut [u64; 8]) });
        }
    }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    provider.references.fetch_add(1, Ordering::SeqCst);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    assert!(
        provider.callbacks.lock().expect("lock").is_none(),
        "a cache outlives its reference"
    );
    provider.references.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn create(
    this: *mut Interface,
    _name: *const c_char,
    size: u32,
    reservation: u32,
    cap: u32,
    ctor: Option<Ctor>,
    dtor: Option<Dtor>,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    if cap != 0 && reservation > cap {
        return Status::INVALID_PARAMETER.raw();
    }
    assert!(size as usize <= size_of::<[u64; 8]>());
    *provider.callbacks.lock().expect("lock") = Some(Callbacks {
        size,
        cap,
        ctor: ctor.expect("a constructor"),
        dtor: dtor.expect("a destructor"),
        acquire: acquire_lock.expect("a lock"),
        release: release_lock.expect("a lock"),
        argument: argument as usize,
    });
    // SAFETY: the caller's variable.
    unsafe { cache.write(ptr::dangling_mut()) };
    0
}

unsafe extern "C" fn get(this: *mut Interface, _: *mut Cache, locked: u8) -> *mut c_void {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    assert_eq!(locked, 0);
    let idle = provider.idle.lock().expect("lock").pop();
    if let Some(object) = idle {
        provider.used.fetch_add(1, Ordering::SeqCst);
        return object as *mut c_void;
    }
    provider.locked(|callbacks| {
        let used = provider.used.load(Ordering::SeqCst);
        if callbacks.cap != 0 && used >= callbacks.cap as usize {
            return ptr::null_mut();
        }
        let object: *mut [u64; 8] = Box::into_raw(Box::new([0; 8]));
        // SAFETY: zeroed memory of the size, with the lock held.
        let status = unsafe { (callbacks.ctor)(callbacks.argument as *mut c_void, object.cast()) };
        if status != 0 {
            // SAFETY: just made.
            drop(unsafe { Box::from_raw(object) });
            return ptr::null_mut();
        }
        provider.used.fetch_add(1, Ordering::SeqCst);
        object.cast()
    })
}

unsafe extern "C" fn put(this: *mut Interface, _: *mut Cache, object: *mut c_void, locked: u8) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    assert_eq!(locked, 0);
    provider.used.fetch_sub(1, Ordering::SeqCst);
    provider.idle.lock().expect("lock").push(object as usize);
}

unsafe extern "C" fn destroy(this: *mut Interface, _: *mut Cache) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    assert_eq!(provider.used.load(Ordering::SeqCst), 0, "objects in use");
    while !provider.idle.lock().expect("lock").is_empty() {
        provider.reclaim();
    }
    provider.callbacks.lock().expect("lock").take();
}

/// Counts what lives.
struct Counted(Arc<AtomicUsize>, u32);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn objects_are_made_late_kept_as_they_were_left_and_dropped_at_the_end() {
    let _session = fake::boot();
    let (provider, live) = (Provider::default(), Arc::new(AtomicUsize::new(0)));
    let caches = provider.open();
    let made = live.clone();
    let cache = caches
        .cache(TAG, c"counted", 4, 0, move || {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(Counted(made.clone(), 0))
        })
        .expect("made");
    assert_eq!(live.load(Ordering::SeqCst), 0, "made early");
    let mut first = cache.get().expect("one");
    first.1 = 7;
    let second = cache.get().expect("another");
    assert_eq!((live.load(Ordering::SeqCst), second.1), (2, 0));
    drop(first);
    let again = cache.get().expect("the first");
    assert_eq!((live.load(Ordering::SeqCst), again.1), (2, 7));
    drop(again);
    provider.reclaim();
    assert_eq!(live.load(Ordering::SeqCst), 1, "upkeep dropped one");
    drop(second);
    drop(cache);
    assert_eq!(live.load(Ordering::SeqCst), 0);
    drop(caches);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

#[test]
fn a_cap_and_an_object_that_cannot_be_made_are_errors() {
    let _session = fake::boot();
    let (provider, fail) = (Provider::default(), AtomicUsize::new(0));
    let caches = provider.open();
    let refused = caches.cache(TAG, c"capped", 4, 3, || Ok(0_u64));
    assert_eq!(refused.err(), Some(Status::INVALID_PARAMETER));
    let cache = caches
        .cache(TAG, c"capped", 0, 2, || {
            if fail.load(Ordering::SeqCst) != 0 {
                return Err(Status::NO_MEMORY);
            }
            Ok(5_u64)
        })
        .expect("made");
    fail.store(1, Ordering::SeqCst);
    assert_eq!(cache.get().err(), Some(Status::INSUFFICIENT_RESOURCES));
    fail.store(0, Ordering::SeqCst);
    let two = [cache.get().expect("one"), cache.get().expect("two")];
    assert_eq!(cache.get().err(), Some(Status::INSUFFICIENT_RESOURCES));
    assert_eq!(*two[0] + *two[1], 10);
}

#[test]
fn an_object_without_a_size_has_a_place_in_the_cache_too() {
    let _session = fake::boot();
    let provider = Provider::default();
    let caches = provider.open();
    let cache = caches.cache(TAG, c"empty", 0, 0, || Ok(())).expect("made");
    let size = provider.callbacks.lock().expect("lock").expect("one").size;
    assert_eq!(size, 1);
    drop(cache.get().expect("one"));
}

#[test]
fn a_cache_without_memory_of_its_own_is_not_made() {
    let session = fake::boot();
    let provider = Provider::default();
    let caches = provider.open();
    session.fail_alloc(Some(0));
    let cache = caches.cache(TAG, c"none", 0, 0, || Ok(1_u32));
    session.fail_alloc(None);
    assert_eq!(cache.err(), Some(Status::INSUFFICIENT_RESOURCES));
    assert!(provider.callbacks.lock().expect("lock").is_none());
}
