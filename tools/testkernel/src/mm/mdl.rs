// SPDX-License-Identifier: BSD-2-Clause
//! Memory descriptor lists: pages for them, and their mappings.
//!
//! MDL: next 0, size i16 8, flags i16 A, mapped address 18, start 20, bytes 28, offset 2C, page numbers from 30.

use alloc::string::String;
use alloc::vec::Vec;

use super::PAGE;
use super::map::{self, Protection};
use super::phys::{self, Bounds};
use crate::arch::DIRECT_MAP;
use crate::ex::pool;
use crate::export::D;
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

const FLAGS: usize = 0xa;
const MAPPED_VA: usize = 0x18;
const START: usize = 0x20;
const BYTES: usize = 0x28;
const OFFSET: usize = 0x2c;
const PAGES: usize = 0x30;

const MAPPED: u16 = 0x1;
const LOCKED: u16 = 0x2;
const NON_PAGED: u16 = 0x4;
const PARTIAL: u16 = 0x10;

const TAG: u32 = pool::tag(b"Mdl ");

/// Mappings: (address, pages, MDL, owner).
static MAPPINGS: Lock<Vec<(Ptr, usize, Ptr, String)>> = Lock::new(Vec::new());
/// Pages of `MmAllocatePagesForMdlEx` that are out: (page number, owner).
static TAKEN: Lock<Vec<(u64, String)>> = Lock::new(Vec::new());

fn page_count(mdl: Ptr) -> usize {
    let offset = mdl.get::<u32>(OFFSET) as usize;
    (offset + mdl.get::<u32>(BYTES) as usize).div_ceil(PAGE)
}

fn page(mdl: Ptr, index: usize) -> u64 {
    mdl.get(PAGES + index * 8)
}

/// Fills the header of an MDL for the range.
fn initialize(mdl: Ptr, start: Ptr, len: usize) {
    let offset = start.0 % PAGE;
    let pages = (offset + len).div_ceil(PAGE);
    mdl.fill(0, PAGES);
    mdl.set(8, (PAGES + pages * 8) as u16);
    mdl.set(START, start.sub(offset));
    mdl.set(BYTES, len as u32);
    mdl.set(OFFSET, offset as u32);
}

extern "win64" fn io_allocate_mdl(
    start: Ptr,
    len: u32,
    secondary: u8,
    _charge: u8,
    irp: Ptr,
) -> Ptr {
    let pages = (start.0 % PAGE + len as usize).div_ceil(PAGE);
    if pool::shall_fail() {
        return Ptr::NULL;
    }
    let mdl = pool::allocate_for_caller(PAGES + pages * 8, TAG);
    if mdl.is_null() {
        return mdl;
    }
    initialize(mdl, start, len as usize);
    if !irp.is_null() {
        if secondary != 0 {
            let mut last = irp.ptr(8);
            while !last.ptr(0).is_null() {
                last = last.ptr(0);
            }
            last.set(0, mdl);
        } else {
            irp.set(8, mdl);
        }
    }
    mdl
}

extern "win64" fn io_free_mdl(mdl: Ptr) {
    let flags: u16 = mdl.get(FLAGS);
    if flags & (MAPPED | PARTIAL) == MAPPED && flags & NON_PAGED == 0 {
        verifier::fail(
            "mdl_mapped",
            format_args!("MDL {mdl} is freed while it is mapped"),
        );
    }
    pool::free(mdl);
}

extern "win64" fn mm_size_of_mdl(start: Ptr, len: usize) -> usize {
    PAGES + (start.0 % PAGE + len).div_ceil(PAGE) * 8
}

extern "win64" fn mm_initialize_mdl(mdl: Ptr, start: Ptr, len: usize) {
    initialize(mdl, start, len);
}

extern "win64" fn mm_build_mdl_for_non_paged_pool(mdl: Ptr) {
    let start = mdl.ptr(START);
    for i in 0..page_count(mdl) {
        match map::translate(start.add(i * PAGE)) {
            Some(physical) => mdl.set(PAGES + i * 8, physical / PAGE as u64),
            None => verifier::fail(
                "bad_argument",
                format_args!("MDL {mdl} describes unmapped memory"),
            ),
        }
    }
    mdl.set(FLAGS, mdl.get::<u16>(FLAGS) | NON_PAGED);
    mdl.set(MAPPED_VA, start.add(mdl.get::<u32>(OFFSET) as usize));
}

extern "win64" fn mm_probe_and_lock_pages(mdl: Ptr, _mode: u8, _operation: u32) {
    let start = mdl.ptr(START);
    for i in 0..page_count(mdl) {
        match map::translate(start.add(i * PAGE)) {
            Some(physical) => mdl.set(PAGES + i * 8, physical / PAGE as u64),
            None => verifier::fail(
                "bad_argument",
                format_args!("MDL {mdl} describes unmapped memory"),
            ),
        }
    }
    mdl.set(FLAGS, mdl.get::<u16>(FLAGS) | LOCKED);
}

extern "win64" fn mm_unlock_pages(mdl: Ptr) {
    let flags: u16 = mdl.get(FLAGS);
    if flags & LOCKED == 0 {
        verifier::fail("mdl_not_locked", format_args!("MDL {mdl} is not locked"));
    }
    if flags & MAPPED != 0 {
        unmap(mdl, mdl.ptr(MAPPED_VA));
    }
    mdl.set(FLAGS, mdl.get::<u16>(FLAGS) & !LOCKED);
}

/// Takes pages one by one; on failure gives back what it took unless a partial result is allowed.
fn take(count: usize, bounds: Bounds, all: bool) -> Vec<u64> {
    let mut pages = Vec::with_capacity(count);
    while pages.len() < count {
        match phys::allocate_run(1, bounds) {
            Some(p) => pages.push(p),
            None => break,
        }
    }
    if all && pages.len() < count {
        pages.drain(..).for_each(|p| phys::free(p, 1));
    }
    pages
}

extern "win64" fn mm_allocate_pages_for_mdl_ex(
    low: u64,
    high: u64,
    skip: u64,
    total: usize,
    _cache: u32,
    flags: u32,
) -> Ptr {
    const FULLY_REQUIRED: u32 = 0x4;
    const CONTIGUOUS: u32 = 0x20;
    const DONT_ZERO: u32 = 0x1;
    let owner = verifier::caller().driver;
    if pool::shall_fail() {
        return Ptr::NULL;
    }
    let count = total.div_ceil(PAGE);
    let bounds = Bounds {
        low: low / PAGE as u64,
        high: (high / PAGE as u64).saturating_add(1),
        align: 1,
    };
    let pages: Vec<u64> = if flags & CONTIGUOUS != 0 {
        let align = (skip / PAGE as u64).max(1);
        let run = phys::allocate_run(
            count,
            Bounds {
                align: align.next_power_of_two(),
                ..bounds
            },
        );
        run.map(|first| (0..count).map(|i| first + (i * PAGE) as u64).collect())
            .unwrap_or_default()
    } else {
        take(count, bounds, flags & FULLY_REQUIRED != 0)
    };
    if pages.is_empty() {
        return Ptr::NULL;
    }
    let mdl = pool::allocate_for_caller(PAGES + pages.len() * 8, TAG);
    if mdl.is_null() {
        pages.into_iter().for_each(|p| phys::free(p, 1));
        return mdl;
    }
    initialize(mdl, Ptr::NULL, pages.len() * PAGE);
    mdl.set(FLAGS, LOCKED);
    for (i, p) in pages.iter().enumerate() {
        if flags & DONT_ZERO == 0 {
            Ptr(DIRECT_MAP + *p as usize).fill(0, PAGE);
        }
        mdl.set(PAGES + i * 8, *p / PAGE as u64);
    }
    TAKEN
        .lock()
        .extend(pages.iter().map(|p| (*p / PAGE as u64, owner.clone())));
    mdl
}

extern "win64" fn mm_allocate_pages_for_mdl(low: u64, high: u64, skip: u64, total: usize) -> Ptr {
    mm_allocate_pages_for_mdl_ex(low, high, skip, total, 1, 0)
}

extern "win64" fn mm_free_pages_from_mdl(mdl: Ptr) {
    if mdl.get::<u16>(FLAGS) & MAPPED != 0 {
        unmap(mdl, mdl.ptr(MAPPED_VA));
    }
    for i in 0..page_count(mdl) {
        let number = page(mdl, i);
        let mut taken = TAKEN.lock();
        let Some(at) = taken.iter().position(|t| t.0 == number) else {
            drop(taken);
            verifier::fail(
                "double_free",
                format_args!("page {number:#x} of MDL {mdl} is not allocated"),
            );
        };
        taken.swap_remove(at);
        drop(taken);
        Ptr(DIRECT_MAP + number as usize * PAGE).fill(pool::POISON, PAGE);
        phys::free(number * PAGE as u64, 1);
    }
    // The pages are gone; the MDL must not name them any more.
    mdl.set(BYTES, 0u32);
    mdl.set(FLAGS, mdl.get::<u16>(FLAGS) & !LOCKED);
}

extern "win64" fn mm_map_locked_pages_specify_cache(
    mdl: Ptr,
    _mode: u8,
    cache: u32,
    _address: Ptr,
    _bug_check: u32,
    _priority: u32,
) -> Ptr {
    let owner = verifier::caller().driver;
    let flags: u16 = mdl.get(FLAGS);
    if flags & MAPPED != 0 {
        verifier::fail("mdl_mapped", format_args!("MDL {mdl} is mapped already"));
    }
    if flags & (LOCKED | NON_PAGED) == 0 {
        verifier::fail("mdl_not_locked", format_args!("MDL {mdl} is not locked"));
    }
    if pool::shall_fail() {
        return Ptr::NULL;
    }
    let protection = match cache {
        0 => Protection::Device,
        1 => Protection::ReadWrite,
        _ => Protection::WriteThrough,
    };
    let pages = page_count(mdl);
    let base = map::reserve(pages);
    for i in 0..pages {
        map::map_page(base.0 + i * PAGE, page(mdl, i) * PAGE as u64, protection);
    }
    let at = base.add(mdl.get::<u32>(OFFSET) as usize);
    mdl.set(MAPPED_VA, at);
    mdl.set(FLAGS, flags | MAPPED);
    MAPPINGS.lock().push((at, pages, mdl, owner));
    at
}

extern "win64" fn mm_map_locked_pages(mdl: Ptr, mode: u8) -> Ptr {
    mm_map_locked_pages_specify_cache(mdl, mode, 1, Ptr::NULL, 0, 0)
}

fn unmap(mdl: Ptr, at: Ptr) {
    let mut mappings = MAPPINGS.lock();
    let Some(i) = mappings.iter().position(|m| m.0 == at && m.2 == mdl) else {
        drop(mappings);
        verifier::fail("bad_unmap", format_args!("{at} is no mapping of MDL {mdl}"));
    };
    let (at, pages, ..) = mappings.swap_remove(i);
    drop(mappings);
    map::unmap(at.sub(at.0 % PAGE), pages);
    mdl.set(FLAGS, mdl.get::<u16>(FLAGS) & !MAPPED);
    mdl.set(MAPPED_VA, Ptr::NULL);
}

extern "win64" fn mm_unmap_locked_pages(at: Ptr, mdl: Ptr) {
    unmap(mdl, at);
}

/// Mappings and pages that `driver` left.
pub(crate) fn left_by(driver: &str) -> Option<String> {
    let mapping = MAPPINGS
        .lock()
        .iter()
        .find(|m| m.3 == driver)
        .map(|m| alloc::format!("mapping {} of MDL {}", m.0, m.2));
    // Pages that somebody outside goes on writing to may stay, if the run says so.
    let mut keeping = crate::arch::boot_config().words("keeps_pages");
    if keeping.any(|name| name == driver) {
        return mapping;
    }
    mapping.or_else(|| {
        let taken = TAKEN.lock();
        let count = taken.iter().filter(|t| t.1 == driver).count();
        (count != 0).then(|| alloc::format!("{count} pages of MDLs"))
    })
}

/// A mapped MDL in the range, for the check of freed memory.
pub(crate) fn mapped_in(start: Ptr, len: usize) -> Option<Ptr> {
    MAPPINGS
        .lock()
        .iter()
        .map(|m| m.2)
        .find(|m| (start.0..start.0 + len).contains(&m.0))
}

crate::exports! {
    "IoAllocateMdl", D => io_allocate_mdl;
    "IoFreeMdl", D => io_free_mdl;
    "MmSizeOfMdl", D => mm_size_of_mdl;
    "MmInitializeMdl", D => mm_initialize_mdl;
    "MmBuildMdlForNonPagedPool", D => mm_build_mdl_for_non_paged_pool;
    "MmProbeAndLockPages", D => mm_probe_and_lock_pages;
    "MmUnlockPages", D => mm_unlock_pages;
    "MmAllocatePagesForMdl", D => mm_allocate_pages_for_mdl;
    "MmAllocatePagesForMdlEx", D => mm_allocate_pages_for_mdl_ex;
    "MmFreePagesFromMdl", D => mm_free_pages_from_mdl;
    "MmMapLockedPages", D => mm_map_locked_pages;
    "MmMapLockedPagesSpecifyCache", D => mm_map_locked_pages_specify_cache;
    "MmUnmapLockedPages", D => mm_unmap_locked_pages;
}
