// SPDX-License-Identifier: BSD-2-Clause
//! Grants over a scripted table.

use core::ffi::c_void;
use core::pin::pin;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::boxed::Box;
use std::collections::BTreeSet;
use std::sync::Mutex;

use kexec::nt::sys::fake;
use kexec::{DpcExecutor, Duration, Passive, Status};

use super::{TAG, poll};
use crate::client::Gnttab;
use crate::gnttab::{AcquireLock, Cache, Entry, GnttabV4, ReleaseLock};
use crate::interface::{Interface, NtStatus};

/// A provider with room for two grants.
#[derive(Default)]
struct Bus {
    references: AtomicUsize,
    caches: AtomicUsize,
    /// Grants that exist.
    granted: Mutex<BTreeSet<usize>>,
    /// Grants whose page is in use.
    used: Mutex<BTreeSet<usize>>,
    mapped: AtomicUsize,
}

impl Bus {
    fn table(&self) -> GnttabV4 {
        GnttabV4 {
            interface: Interface::of::<GnttabV4>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            create_cache,
            permit_foreign_access,
            revoke_foreign_access,
            get_reference,
            query_reference,
            destroy_cache,
            map_foreign_pages,
            unmap_foreign_pages,
        }
    }

    fn open(&self) -> Gnttab {
        // SAFETY: every test keeps its provider until the reference is gone.
        unsafe { Gnttab::from_table(self.table()) }.expect("acquired")
    }

    fn granted(&self) -> usize {
        self.granted.lock().expect("lock").len()
    }

    fn set_used(&self, reference: u32, used: bool) {
        let mut list = self.used.lock().expect("lock");
        if used {
            list.insert(reference as usize);
        } else {
            list.remove(&(reference as usize));
        }
    }
}

/// The provider behind an interface.
///
/// # Safety
/// `this` is a copy of a table of [`Bus::table`] whose provider lives.
unsafe fn bus<'a>(this: *mut Interface) -> &'a Bus {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: by the contract.
    unsafe { &*context.cast_const().cast::<Bus>() }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called through the table.
    unsafe { bus(this) }.references.fetch_add(1, SeqCst);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    assert_eq!(bus.caches.load(SeqCst), 0, "released with a cache");
    bus.references.fetch_sub(1, SeqCst);
}

unsafe extern "C" fn create_cache(
    this: *mut Interface,
    _name: *const core::ffi::c_char,
    reservation: u32,
    cap: u32,
    acquire_lock: Option<AcquireLock>,
    release_lock: Option<ReleaseLock>,
    _argument: *mut c_void,
    cache: *mut *mut Cache,
) -> NtStatus {
    assert!(acquire_lock.is_some() && release_lock.is_some());
    if cap != 0 && reservation > cap {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: called through the table.
    let number = unsafe { bus(this) }.caches.fetch_add(1, SeqCst) + 1;
    // SAFETY: the wrapper's local.
    unsafe { cache.write(ptr::without_provenance_mut(number)) };
    0
}

unsafe extern "C" fn permit_foreign_access(
    this: *mut Interface,
    _cache: *mut Cache,
    _locked: u8,
    _domain: u16,
    _pfn: u64,
    _read_only: u8,
    entry: *mut *mut Entry,
) -> NtStatus {
    // SAFETY: called through the table.
    let mut granted = unsafe { bus(this) }.granted.lock().expect("lock");
    let Some(number) = [40, 41].into_iter().find(|n| !granted.contains(n)) else {
        return Status::INSUFFICIENT_RESOURCES.raw();
    };
    granted.insert(number);
    // SAFETY: the wrapper's local.
    unsafe { entry.write(ptr::without_provenance_mut(number)) };
    0
}

unsafe extern "C" fn revoke_foreign_access(
    this: *mut Interface,
    _cache: *mut Cache,
    _locked: u8,
    entry: *mut Entry,
) -> NtStatus {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    if bus.used.lock().expect("lock").contains(&entry.addr()) {
        return Status::UNSUCCESSFUL.raw();
    }
    assert!(bus.granted.lock().expect("lock").remove(&entry.addr()));
    0
}

unsafe extern "C" fn get_reference(_this: *mut Interface, entry: *mut Entry) -> u32 {
    entry.addr() as u32
}

unsafe extern "C" fn query_reference(
    _this: *mut Interface,
    reference: u32,
    pfn: *mut u64,
    read_only: *mut u8,
) -> NtStatus {
    // SAFETY: the wrapper's local.
    unsafe { pfn.write(u64::from(reference) + 1) };
    // SAFETY: as above.
    unsafe { read_only.write(1) };
    0
}

unsafe extern "C" fn destroy_cache(this: *mut Interface, _cache: *mut Cache) {
    // SAFETY: called through the table.
    unsafe { bus(this) }.caches.fetch_sub(1, SeqCst);
}

unsafe extern "C" fn map_foreign_pages(
    this: *mut Interface,
    _domain: u16,
    number_pages: u32,
    _references: *const u32,
    _read_only: u8,
    address: *mut i64,
) -> NtStatus {
    if number_pages == 0 {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: called through the table.
    unsafe { bus(this) }.mapped.fetch_add(1, SeqCst);
    // SAFETY: the wrapper's local.
    unsafe { address.write(0x10_0000) };
    0
}

unsafe extern "C" fn unmap_foreign_pages(this: *mut Interface, address: i64) -> NtStatus {
    assert_eq!(address, 0x10_0000);
    // SAFETY: called through the table.
    unsafe { bus(this) }.mapped.fetch_sub(1, SeqCst);
    0
}

#[test]
fn a_dropped_grant_is_revoked_and_its_page_dropped() {
    let _kernel = fake::boot();
    let bus = Box::<Bus>::default();
    let gnttab = bus.open();
    let cache = gnttab.cache(c"test", 0, 0).expect("a cache");
    let page = kexec::nt::Box::try_new(TAG, 7).expect("memory");
    let grant = cache.permit(page, 1, 9, false).expect("granted");
    assert_eq!((grant.reference(), **grant.page()), (40, 7));
    assert_eq!(gnttab.query(40), Ok((41, true)));
    drop(grant);
    assert_eq!(bus.granted(), 0);
    drop(cache);
    drop(gnttab);
    assert_eq!(bus.references.load(SeqCst), 0);
}

#[test]
fn a_grant_in_use_is_not_ended_and_comes_back() {
    let _kernel = fake::boot();
    let bus = Box::<Bus>::default();
    let gnttab = bus.open();
    let cache = gnttab.cache(c"test", 0, 0).expect("a cache");
    let grant = cache.permit("page", 1, 9, false).expect("granted");
    bus.set_used(40, true);
    let (grant, status) = grant.try_end().expect_err("in use");
    assert_eq!((grant.reference(), status), (40, Status::UNSUCCESSFUL));
    bus.set_used(40, false);
    assert_eq!(grant.try_end().expect("ended"), "page");
    assert_eq!(bus.granted(), 0);
}

#[test]
fn a_grant_dropped_while_in_use_leaks_its_page_and_says_so() {
    let kernel = fake::boot();
    let bus = Box::<Bus>::default();
    let gnttab = bus.open();
    let cache = gnttab.cache(c"test", 0, 0).expect("a cache");
    let page = kexec::nt::Box::try_new(TAG, 7).expect("memory");
    let grant = cache.permit(page, 1, 9, false).expect("granted");
    bus.set_used(40, true);
    drop(grant);
    assert_eq!((bus.granted(), kernel.blocks()), (1, 1));
    let said = kernel
        .log()
        .iter()
        .any(|line| line.contains("grant 40 dropped while in use"));
    assert!(said);
    // Lost on purpose, so this kernel must not look for leaks at its end.
    core::mem::forget(kernel);
}

#[test]
fn a_full_table_is_waited_for_by_this_cache_and_by_the_clock() {
    let kernel = fake::boot();
    let bus = Box::<Bus>::default();
    let gnttab = bus.open();
    let executor = DpcExecutor::try_new(TAG, None).expect("an executor");
    let cache = gnttab.cache(c"test", 0, 0).expect("a cache");
    let first = cache.permit((), 1, 9, false).expect("granted");
    let second = cache.permit((), 1, 9, false).expect("granted");
    assert!(cache.permit((), 1, 9, false).is_err());
    {
        let mut wait = pin!(cache.permit_when_free(executor.timers(), (), 1, 9, false));
        assert!(poll(wait.as_mut()).is_pending());
        drop(first);
        assert!(
            poll(wait.as_mut()).is_ready(),
            "a grant of this cache ended"
        );
    }
    let third = cache.permit((), 1, 9, false).expect("granted");
    {
        let mut wait = pin!(cache.permit_when_free(executor.timers(), (), 1, 9, false));
        assert!(poll(wait.as_mut()).is_pending());
        // Somebody else's.
        bus.granted.lock().expect("lock").remove(&40);
        assert!(poll(wait.as_mut()).is_pending(), "nothing tells");
        kernel.advance(Duration::from_millis(11));
        assert!(poll(wait.as_mut()).is_ready(), "but the clock");
        bus.granted.lock().expect("lock").insert(40);
    }
    {
        bus.set_used(41, true);
        let mut end = pin!(second.end(executor.timers()));
        assert!(poll(end.as_mut()).is_pending());
        bus.set_used(41, false);
        kernel.advance(Duration::from_millis(11));
        assert!(poll(end.as_mut()).is_ready());
    }
    drop(third);
    executor.stop(Passive::assert());
}

#[test]
fn foreign_pages_are_unmapped_with_their_mapping() {
    let kernel = fake::boot();
    kernel.add_physical(0x10_0000, 2);
    let bus = Box::<Bus>::default();
    let gnttab = bus.open();
    let foreign = gnttab.map(3, &[8, 9], false).expect("mapped");
    assert_eq!(foreign.shared().len(), 8192);
    drop(foreign);
    assert_eq!(bus.mapped.load(SeqCst), 0);
    // Where the address cannot be mapped, the pages are given back too.
    assert!(gnttab.map(3, &[8, 9, 10], false).is_err());
    assert_eq!(bus.mapped.load(SeqCst), 0);
    assert_eq!(
        gnttab.map(3, &[], false).err(),
        Some(Status::INVALID_PARAMETER)
    );
}
