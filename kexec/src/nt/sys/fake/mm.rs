// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's memory manager: physical ranges backed by tests, MDLs, interrupts' connection table.
#![expect(
    unsafe_code,
    reason = "arguments come as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use std::alloc::Layout;
use std::sync::Arc;
use std::vec;

use super::{Isr, Kernel, at_most};
use crate::Status;
use crate::nt::sys::*;

/// Tag of MDLs, which the driver frees with ExFreePool.
const MDL_TAG: u32 = u32::from_le_bytes(*b"Mdl ");

pub(super) fn add_physical(kernel: &Arc<Kernel>, base: u64, pages: usize) -> *mut u64 {
    let mut memory = vec![0_u64; pages * 512].into_boxed_slice();
    let address = memory.as_mut_ptr();
    kernel.lock().physical.push((base, memory));
    address
}

pub unsafe fn MmMapIoSpace(address: i64, length: usize, _cache: u32) -> PVOID {
    at_most("MmMapIoSpace", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let address = address as u64;
    let found = state.physical.iter_mut().find_map(|(base, memory)| {
        let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
        let fits = offset + length <= memory.len() * 8;
        // The base pointer covers the whole range; the offset stays inside it.
        fits.then(|| memory.as_mut_ptr().cast::<u8>().wrapping_add(offset))
    });
    // Pages that were allocated here are physical memory, too; their frame numbers are host addresses.
    let inside = |(base, size): &(usize, usize)| {
        (*base..*base + *size).contains(&(address as usize))
            && address as usize + length <= base + size
    };
    let found = found.map(|mapped| mapped.cast()).or_else(|| {
        let allocated = state.pages.iter().any(inside);
        allocated.then(|| core::ptr::with_exposed_provenance_mut(address as usize))
    });
    match found {
        Some(mapped) => {
            state.io_maps += 1;
            mapped
        }
        None => core::ptr::null_mut(),
    }
}

pub unsafe fn MmUnmapIoSpace(address: PVOID, _length: usize) {
    at_most("MmUnmapIoSpace", 2);
    assert!(!address.is_null(), "MmUnmapIoSpace: NULL");
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    state.io_maps = state
        .io_maps
        .checked_sub(1)
        .expect("MmUnmapIoSpace: not mapped");
}

pub unsafe fn MmAllocatePagesForMdlEx(
    _low: i64,
    _high: i64,
    _skip: i64,
    total: usize,
    _cache: u32,
    _flags: u32,
) -> *mut MDL {
    at_most("MmAllocatePagesForMdlEx", 2);
    let pages = total.div_ceil(4096);
    // SAFETY: the size is not zero.
    let mdl =
        unsafe { ExAllocatePoolWithTag(NonPagedPoolNx, size_of::<MDL>() + 8 * pages, MDL_TAG) }
            .cast::<MDL>();
    if mdl.is_null() {
        return mdl;
    }
    let Ok(layout) = Layout::from_size_align(pages * 4096, 4096) else {
        return core::ptr::null_mut();
    };
    // SAFETY: callers ask for at least one page.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    let allocated = (memory.expose_provenance(), pages * 4096);
    Kernel::current().lock().pages.push(allocated);
    let none = core::ptr::null_mut();
    let fresh = MDL {
        Next: core::ptr::null_mut(),
        Size: (size_of::<MDL>() + 8 * pages) as u16,
        MdlFlags: 2,
        Reserved: 0,
        Process: none,
        MappedSystemVa: none,
        StartVa: memory.cast(),
        ByteCount: (pages * 4096) as u32,
        ByteOffset: 0,
    };
    // SAFETY: room for an MDL and its PFNs was just allocated.
    unsafe { mdl.write(fresh) };
    for page in 0..pages {
        // SAFETY: the PFN array follows the MDL.
        let slot = unsafe { mdl.add(1) }.cast::<u64>().wrapping_add(page);
        // SAFETY: inside the block.
        unsafe { slot.write((memory as u64 >> 12) + page as u64) };
    }
    mdl
}

pub unsafe fn MmFreePagesFromMdl(mdl: *mut MDL) {
    at_most("MmFreePagesFromMdl", 2);
    // SAFETY: an MDL of MmAllocatePagesForMdlEx by contract.
    let view = unsafe { mdl.read() };
    assert!(view.MdlFlags & 1 == 0, "MmFreePagesFromMdl: still mapped");
    let Ok(layout) = Layout::from_size_align(view.ByteCount as usize, 4096) else {
        return;
    };
    Kernel::current()
        .lock()
        .pages
        .retain(|(base, _)| *base != view.StartVa as usize);
    // SAFETY: allocated with this layout there.
    unsafe { std::alloc::dealloc(view.StartVa.cast(), layout) };
}

pub unsafe fn MmMapLockedPagesSpecifyCache(
    mdl: *mut MDL,
    _mode: i8,
    _cache: u32,
    _base: PVOID,
    _bugcheck: u32,
    _priority: u32,
) -> PVOID {
    at_most("MmMapLockedPagesSpecifyCache", 2);
    // SAFETY: a valid MDL by contract.
    let view = unsafe { &mut *mdl };
    assert!(
        view.MdlFlags & 1 == 0,
        "MmMapLockedPagesSpecifyCache: already mapped"
    );
    view.MdlFlags |= 1;
    view.MappedSystemVa = view.StartVa;
    view.StartVa
}

pub unsafe fn MmUnmapLockedPages(_base: PVOID, mdl: *mut MDL) {
    at_most("MmUnmapLockedPages", 2);
    // SAFETY: a valid MDL by contract.
    let view = unsafe { &mut *mdl };
    assert!(view.MdlFlags & 1 != 0, "MmUnmapLockedPages: not mapped");
    view.MdlFlags &= !1;
}

/// Contiguous memory is pool here, so that the leak check and the failing allocations see it.
const CONTIGUOUS_TAG: u32 = u32::from_le_bytes(*b"Cont");

pub unsafe fn MmAllocateContiguousMemorySpecifyCache(
    bytes: usize,
    _low: i64,
    _high: i64,
    _boundary: i64,
    cache: u32,
) -> PVOID {
    at_most("MmAllocateContiguousMemorySpecifyCache", 2);
    assert!(
        cache == 1,
        "MmAllocateContiguousMemorySpecifyCache: cached only"
    );
    // SAFETY: callers ask for at least one page.
    unsafe { ExAllocatePoolWithTag(NonPagedPoolNx, bytes, CONTIGUOUS_TAG) }
}

pub unsafe fn MmFreeContiguousMemory(base: PVOID) {
    at_most("MmFreeContiguousMemory", 1);
    // SAFETY: allocated above by contract.
    unsafe { ExFreePoolWithTag(base, CONTIGUOUS_TAG) };
}

pub unsafe fn MmGetPhysicalAddress(base: PVOID) -> i64 {
    base as i64
}

pub unsafe fn MmGetSystemRoutineAddress(_name: *mut UNICODE_STRING) -> PVOID {
    at_most("MmGetSystemRoutineAddress", 0);
    core::ptr::null_mut()
}

pub unsafe fn IoConnectInterruptEx(parameters: *mut IO_CONNECT_INTERRUPT_PARAMETERS) -> NTSTATUS {
    at_most("IoConnectInterruptEx", 0);
    // SAFETY: valid parameters by contract.
    let view = unsafe { &*parameters };
    let Some(routine) = view.ServiceRoutine else {
        return Status::INVALID_PARAMETER.raw();
    };
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    if state.isrs.contains_key(&view.Vector) && view.ShareVector == 0 {
        return Status::DEVICE_BUSY.raw();
    }
    let object = 0x1000 + view.Vector as usize;
    state.isrs.insert(
        view.Vector,
        Isr {
            routine,
            context: view.ServiceContext as usize,
            irql: view.Irql,
            object,
            lock: view.SpinLock as usize,
        },
    );
    // SAFETY: a valid pointer by contract.
    unsafe { view.InterruptObject.write(object as PVOID) };
    0
}

pub unsafe fn IoDisconnectInterruptEx(parameters: *mut IO_DISCONNECT_INTERRUPT_PARAMETERS) {
    at_most("IoDisconnectInterruptEx", 0);
    // SAFETY: valid parameters by contract.
    let object = unsafe { (*parameters).ConnectionContext } as usize;
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.isrs.len();
    state.isrs.retain(|_, isr| isr.object != object);
    let gone = before != state.isrs.len();
    drop(state);
    assert!(gone, "IoDisconnectInterruptEx: not connected");
}
