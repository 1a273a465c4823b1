// SPDX-License-Identifier: BSD-2-Clause
//! Virtual memory: one set of page tables for all CPUs.
//!
//! | from | what |
//! | --- | --- |
//! | `FFFF8000'00000000` | all RAM, writable, not executable (pool lives here) |
//! | `FFFFF780'00000000` | the shared user data page |
//! | `FFFFF800'00000000` | driver images, each page writable or executable, never both |
//! | `FFFFF880'00000000` | I/O space and MDL mappings, thread stacks |
//! | `FFFFFFFF'80000000` | the kernel |
//!
//! An unmapped range of addresses is never used again, so a stale translation on another CPU cannot hit somebody else's
//! memory and no shoot-down is needed.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use x86_64::structures::paging::mapper::{MapperFlush, TranslateResult};
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags as Flags, PhysFrame,
    Size2MiB, Size4KiB, Translate,
};
use x86_64::{PhysAddr, VirtAddr};

use super::{PAGE, phys};
use crate::arch::{self, DIRECT_MAP, KERNEL_BASE};
use crate::mem::Ptr;
use crate::sync::Lock;

/// Where the kernel's sections begin.
#[derive(Clone, Copy, Debug)]
pub struct KernelLayout {
    /// Code.
    pub text: usize,
    /// Constants.
    pub rodata: usize,
    /// Data.
    pub data: usize,
    /// First byte after it.
    pub end: usize,
}

/// Access rights of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    Execute,
    /// Read and write, not cached.
    Device,
    /// Read and write, write-combining is treated as not cached; read-only and cached otherwise alike.
    WriteThrough,
}

impl Protection {
    fn flags(self) -> Flags {
        let base = Flags::PRESENT | Flags::GLOBAL;
        match self {
            Self::ReadOnly => base | Flags::NO_EXECUTE,
            Self::ReadWrite => base | Flags::WRITABLE | Flags::NO_EXECUTE,
            Self::Execute => base,
            Self::Device => {
                base | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::NO_CACHE | Flags::WRITE_THROUGH
            }
            Self::WriteThrough => base | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::WRITE_THROUGH,
        }
    }
}

struct Frames;

// SAFETY: the page allocator hands out every page once.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        phys::allocate_zeroed().map(|p| PhysFrame::containing_address(PhysAddr::new(p)))
    }
}

static TABLES: Lock<Option<OffsetPageTable<'static>>> = Lock::new(None);
static ROOT: AtomicU64 = AtomicU64::new(0);
static NEXT_IMAGE: AtomicUsize = AtomicUsize::new(0xffff_f800_0000_0000);
static NEXT_MAPPING: AtomicUsize = AtomicUsize::new(0xffff_f880_0000_0000);

fn with<R>(f: impl FnOnce(&mut OffsetPageTable<'static>) -> R) -> R {
    let mut tables = TABLES.lock();
    match tables.as_mut() {
        Some(tables) => f(tables),
        None => panic!("page tables used before they exist"),
    }
}

/// Builds the kernel's tables and switches to them; once, on the first CPU.
pub(crate) fn init(kernel: KernelLayout) {
    let root = phys::allocate_zeroed().unwrap_or_else(|| panic!("no page for the page tables"));
    ROOT.store(root, Ordering::Release);
    let table = (DIRECT_MAP + root as usize) as *mut PageTable;
    // SAFETY: a fresh page of zeros is a valid table, reached through the boot code's direct map; nobody else uses it.
    let table = unsafe { &mut *table };
    // SAFETY: all frames are mapped at that offset, now and later.
    let mut mapper = unsafe { OffsetPageTable::new(table, VirtAddr::new(DIRECT_MAP as u64)) };
    let top = arch::memory_ranges_top().max(1 << 30);
    for address in (0..top).step_by(2 << 20) {
        let page = Page::<Size2MiB>::containing_address(VirtAddr::new(DIRECT_MAP as u64 + address));
        let frame = PhysFrame::<Size2MiB>::containing_address(PhysAddr::new(address));
        // SAFETY: the direct map is the kernel's own view of RAM.
        let done =
            unsafe { mapper.map_to(page, frame, Protection::ReadWrite.flags(), &mut Frames) };
        done.map(MapperFlush::ignore)
            .unwrap_or_else(|e| panic!("direct map: {e:?}"));
    }
    let sections = [
        (kernel.text, kernel.rodata, Protection::Execute),
        (kernel.rodata, kernel.data, Protection::ReadOnly),
        (kernel.data, kernel.end, Protection::ReadWrite),
    ];
    for (start, end, protection) in sections {
        for at in (start..end).step_by(PAGE) {
            map_in(&mut mapper, at, (at - KERNEL_BASE) as u64, protection);
        }
    }
    *TABLES.lock() = Some(mapper);
    activate();
}

/// Loads the kernel's tables on this CPU.
pub(crate) fn activate() {
    let frame = PhysFrame::containing_address(PhysAddr::new(ROOT.load(Ordering::Acquire)));
    // SAFETY: the tables map the kernel where it runs.
    unsafe {
        x86_64::registers::control::Cr3::write(frame, x86_64::registers::control::Cr3Flags::empty())
    }
}

fn map_in(mapper: &mut OffsetPageTable<'static>, at: usize, physical: u64, protection: Protection) {
    let page = Page::<Size4KiB>::containing_address(VirtAddr::new(at as u64));
    let frame = PhysFrame::containing_address(PhysAddr::new(physical));
    // SAFETY: the address is in a region that this module hands out, and not in use.
    let done = unsafe {
        mapper.map_to_with_table_flags(
            page,
            frame,
            protection.flags(),
            Flags::PRESENT | Flags::WRITABLE,
            &mut Frames,
        )
    };
    match done {
        Ok(flush) => flush.flush(),
        Err(e) => panic!("map {at:#x}: {e:?}"),
    }
}

/// Maps one page at a fixed address.
pub(crate) fn map_page(at: usize, physical: u64, protection: Protection) {
    with(|mapper| map_in(mapper, at, physical, protection));
}

/// Changes the rights of one page.
pub(crate) fn protect(at: usize, protection: Protection) {
    let page = Page::<Size4KiB>::containing_address(VirtAddr::new(at as u64));
    with(|mapper| {
        // SAFETY: the page belongs to an image that is being loaded.
        let done = unsafe { mapper.update_flags(page, protection.flags()) };
        match done {
            Ok(flush) => flush.flush(),
            Err(e) => panic!("protect {at:#x}: {e:?}"),
        }
    });
}

/// Reserves `pages` pages of address space for an image; a gap follows.
pub(crate) fn reserve_image(pages: usize) -> Ptr {
    Ptr(NEXT_IMAGE.fetch_add((pages + 16) * PAGE, Ordering::Relaxed))
}

/// Reserves `pages` pages of address space; an unmapped page follows.
pub(crate) fn reserve(pages: usize) -> Ptr {
    Ptr(NEXT_MAPPING.fetch_add((pages + 1) * PAGE, Ordering::Relaxed))
}

/// Maps the physical range at a new address; keeps the offset in the page.
pub(crate) fn range(physical: u64, len: usize, protection: Protection) -> Ptr {
    let offset = physical as usize % PAGE;
    let pages = (offset + len).div_ceil(PAGE);
    let at = reserve(pages);
    let first = physical - offset as u64;
    with(|mapper| {
        for i in 0..pages {
            map_in(
                mapper,
                at.0 + i * PAGE,
                first + (i * PAGE) as u64,
                protection,
            );
        }
    });
    at.add(offset)
}

/// Maps device registers.
pub(crate) fn device(physical: u64, len: usize) -> Ptr {
    range(physical, len, Protection::Device)
}

/// Removes the mapping of `pages` pages; returns the physical address of each that was mapped.
pub(crate) fn unmap(at: Ptr, pages: usize) -> alloc::vec::Vec<u64> {
    with(|mapper| {
        (0..pages)
            .filter_map(|i| {
                let page =
                    Page::<Size4KiB>::containing_address(VirtAddr::new((at.0 + i * PAGE) as u64));
                let (frame, flush) = mapper.unmap(page).ok()?;
                flush.flush();
                Some(frame.start_address().as_u64())
            })
            .collect()
    })
}

/// The physical address behind `at`, if it is mapped.
pub(crate) fn translate(at: Ptr) -> Option<u64> {
    let address = VirtAddr::try_new(at.0 as u64).ok()?;
    with(|mapper| match mapper.translate(address) {
        TranslateResult::Mapped { frame, offset, .. } => {
            Some(frame.start_address().as_u64() + offset)
        }
        _ => None,
    })
}

/// As [`translate`], for the failure path: gives up when somebody holds the tables.
pub(crate) fn try_translate(at: Ptr) -> Option<u64> {
    let tables = TABLES.try_lock()?;
    drop(tables);
    translate(at)
}
