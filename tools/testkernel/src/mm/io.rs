// SPDX-License-Identifier: BSD-2-Clause
//! Mappings of physical ranges and contiguous memory.

use alloc::string::String;
use alloc::vec::Vec;

use super::PAGE;
use super::map::{self, Protection};
use super::phys::{self, Bounds};
use crate::arch::DIRECT_MAP;
use crate::export::{A, ANY, D};
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

/// What a driver has mapped or taken.
#[derive(Debug)]
struct Held {
    at: Ptr,
    len: usize,
    owner: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    IoSpace,
    Contiguous,
}

static HELD: Lock<Vec<Held>> = Lock::new(Vec::new());

fn protection(cache: u32) -> Option<Protection> {
    match cache {
        0 => Some(Protection::Device),
        1 => Some(Protection::ReadWrite),
        2 => Some(Protection::WriteThrough),
        _ => None,
    }
}

fn map_io(physical: u64, len: usize, protection: Protection) -> Ptr {
    let owner = verifier::caller().driver;
    if len == 0 {
        verifier::fail("bad_argument", format_args!("a mapping of no bytes"));
    }
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    let at = map::range(physical, len, protection);
    HELD.lock().push(Held {
        at,
        len,
        owner,
        kind: Kind::IoSpace,
    });
    at
}

extern "win64" fn mm_map_io_space(physical: u64, len: usize, cache: u32) -> Ptr {
    match protection(cache) {
        Some(protection) => map_io(physical, len, protection),
        None => verifier::fail("bad_argument", format_args!("cache type {cache}")),
    }
}

extern "win64" fn mm_map_io_space_ex(physical: u64, len: usize, protect: u32) -> Ptr {
    let device = protect & (0x200 | 0x400) != 0;
    match protect & 0xff {
        2 => map_io(physical, len, Protection::ReadOnly),
        4 if device => map_io(physical, len, Protection::Device),
        4 => map_io(physical, len, Protection::ReadWrite),
        _ => verifier::fail("bad_argument", format_args!("page protection {protect:#x}")),
    }
}

fn give_back(at: Ptr, len: Option<usize>, kind: Kind) -> Held {
    let mut held = HELD.lock();
    match held
        .iter()
        .position(|h| h.at == at && h.kind == kind && len.is_none_or(|l| l == h.len))
    {
        Some(i) => held.swap_remove(i),
        None => {
            drop(held);
            verifier::fail(
                "bad_unmap",
                format_args!("{at} with {len:x?} bytes is no such {kind:?}"),
            )
        }
    }
}

extern "win64" fn mm_unmap_io_space(at: Ptr, len: usize) {
    let gone = give_back(at, Some(len), Kind::IoSpace);
    let offset = gone.at.0 % PAGE;
    map::unmap(gone.at.sub(offset), (offset + gone.len).div_ceil(PAGE));
}

fn contiguous(len: usize, low: u64, high: u64, boundary: u64) -> Ptr {
    let owner = verifier::caller().driver;
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    let pages = len.div_ceil(PAGE);
    let align = if boundary == 0 {
        1
    } else {
        (boundary / PAGE as u64).min(pages.next_power_of_two() as u64)
    };
    let bounds = Bounds {
        low: low / PAGE as u64,
        high: (high / PAGE as u64).saturating_add(1),
        align,
    };
    let Some(physical) = phys::allocate_run(pages, bounds) else {
        return Ptr::NULL;
    };
    let at = Ptr(DIRECT_MAP + physical as usize);
    HELD.lock().push(Held {
        at,
        len,
        owner,
        kind: Kind::Contiguous,
    });
    at
}

extern "win64" fn mm_allocate_contiguous_memory(len: usize, high: u64) -> Ptr {
    contiguous(len, 0, high, 0)
}

extern "win64" fn mm_allocate_contiguous_memory_specify_cache(
    len: usize,
    low: u64,
    high: u64,
    boundary: u64,
    _cache: u32,
) -> Ptr {
    contiguous(len, low, high, boundary)
}

extern "win64" fn mm_allocate_contiguous_node_memory(
    len: usize,
    low: u64,
    high: u64,
    boundary: u64,
    _protect: u32,
    _node: u32,
) -> Ptr {
    contiguous(len, low, high, boundary)
}

fn free_contiguous(at: Ptr, len: Option<usize>) {
    let gone = give_back(at, len, Kind::Contiguous);
    gone.at.fill(crate::ex::pool::POISON, gone.len);
    phys::free((gone.at.0 - DIRECT_MAP) as u64, gone.len.div_ceil(PAGE));
}

extern "win64" fn mm_free_contiguous_memory(at: Ptr) {
    free_contiguous(at, None);
}

extern "win64" fn mm_free_contiguous_memory_specify_cache(at: Ptr, len: usize, _cache: u32) {
    free_contiguous(at, Some(len));
}

extern "win64" fn mm_get_physical_address(at: Ptr) -> u64 {
    map::translate(at).unwrap_or(0)
}

extern "win64" fn mm_is_address_valid(at: Ptr) -> u8 {
    u8::from(map::translate(at).is_some())
}

extern "win64" fn mm_get_virtual_for_physical(physical: u64) -> Ptr {
    Ptr(DIRECT_MAP + physical as usize)
}

/// Mappings and contiguous memory that `driver` left.
pub(crate) fn left_by(driver: &str) -> Option<String> {
    let held = HELD.lock();
    held.iter()
        .find(|h| h.owner == driver)
        .map(|h| alloc::format!("{:?} at {} of {:#x} bytes", h.kind, h.at, h.len))
}

crate::exports! {
    "MmMapIoSpace", D => mm_map_io_space;
    "MmMapIoSpaceEx", D => mm_map_io_space_ex;
    "MmUnmapIoSpace", D => mm_unmap_io_space;
    "MmAllocateContiguousMemory", D => mm_allocate_contiguous_memory;
    "MmAllocateContiguousMemorySpecifyCache", D => mm_allocate_contiguous_memory_specify_cache;
    "MmAllocateContiguousNodeMemory", D => mm_allocate_contiguous_node_memory;
    "MmFreeContiguousMemory", A => mm_free_contiguous_memory;
    "MmFreeContiguousMemorySpecifyCache", A => mm_free_contiguous_memory_specify_cache;
    "MmGetPhysicalAddress", ANY => mm_get_physical_address;
    "MmGetVirtualForPhysical", ANY => mm_get_virtual_for_physical;
    // Documented up to DISPATCH_LEVEL, where its answer can be relied on; crash callbacks ask at HIGH_LEVEL.
    "MmIsAddressValid", ANY => mm_is_address_valid;
}
