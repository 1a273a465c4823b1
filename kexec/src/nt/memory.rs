// SPDX-License-Identifier: BSD-2-Clause
//! Memory that is more than pool: [`IoMapping`] (a physical range) and [`Pages`] (whole pages with their frame numbers).
//!
//! Both may be shared with a hypervisor or a device, so no reference to their bytes is ever formed: access is through atomics, or
//! through copies.
#![expect(unsafe_code, reason = "mappings are raw memory")]

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use super::sys::{self, MDL};
use crate::{Result, Status};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// How a range is cached.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Device registers.
    NonCached = 0,
    /// Ordinary memory, which includes pages shared with the hypervisor or another domain.
    Cached = 1,
}

/// Shared memory as slices of atomics: what [`IoMapping`] and [`Pages`] have in common.
///
/// # Invariants
/// `base` is page-or-better mapped for `len` bytes for as long as the borrow lives.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    base: NonNull<u8>,
    len: usize,
    owner: core::marker::PhantomData<&'a ()>,
}

// SAFETY: gives access through atomics only.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

macro_rules! atomics {
    ($($(#[$doc:meta])* $name:ident -> $ty:ty;)*) => { $(
        $(#[$doc])*
        ///
        /// Panics when the base is not aligned for it.
        ///
        /// # IRQL
        /// Any.
        #[must_use]
        pub fn $name(self) -> &'a [$ty] {
            assert!(self.base.cast::<$ty>().is_aligned(), "mapping not aligned");
            let count = self.len / size_of::<$ty>();
            // SAFETY: mapped for `len` bytes for 'a (invariant), aligned; atomics may be shared with whoever else has the memory.
            unsafe { core::slice::from_raw_parts(self.base.cast::<$ty>().as_ptr(), count) }
        }
    )* };
}

impl<'a> Shared<'a> {
    /// # Safety
    /// `base` stays mapped for `len` bytes during `'a`.
    pub(super) const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self {
            base,
            len,
            owner: core::marker::PhantomData,
        }
    }

    /// Bytes.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The address, for hypercalls and foreign calls.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_ptr(self) -> *mut u8 {
        self.base.as_ptr()
    }

    atomics! {
        /// The bytes.
        atomics_u8 -> AtomicU8;
        /// The memory in 16-bit words.
        atomics_u16 -> AtomicU16;
        /// The memory in 32-bit words.
        atomics_u32 -> AtomicU32;
        /// The memory in 64-bit words.
        atomics_u64 -> AtomicU64;
    }
}

impl fmt::Debug for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:p}, {:#x})", self.base, self.len)
    }
}

/// A mapped physical range (MmMapIoSpace), unmapped on drop.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct IoMapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is visible on every processor; access is through atomics.
unsafe impl Send for IoMapping {}
// SAFETY: as above.
unsafe impl Sync for IoMapping {}

impl IoMapping {
    /// Maps `len` bytes from physical address `base`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn map(base: u64, len: usize, cache: Cache) -> Result<Self> {
        let address = i64::try_from(base).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: <= DISPATCH_LEVEL by contract; whether the range means anything is for the kernel to say.
        let mapped = unsafe { sys::MmMapIoSpace(address, len, cache as u32) };
        let base = NonNull::new(mapped.cast()).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        Ok(Self { base, len })
    }

    /// The memory.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn shared(&self) -> Shared<'_> {
        Shared {
            base: self.base,
            len: self.len,
            owner: core::marker::PhantomData,
        }
    }
}

impl Drop for IoMapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, not used again.
        unsafe { sys::MmUnmapIoSpace(self.base.as_ptr().cast(), self.len) };
    }
}

impl fmt::Debug for IoMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shared(), f)
    }
}

/// Zeroed whole pages with known frame numbers, mapped; freed on drop.
///
/// # IRQL
/// Making and dropping: <= APC_LEVEL. Use: any.
pub struct Pages {
    mdl: NonNull<MDL>,
    base: NonNull<u8>,
    count: usize,
}

// SAFETY: owned pages, visible on every processor; access is through atomics.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

/// MM_ALLOCATE_FULLY_REQUIRED.
const FULLY: u32 = 4;
/// NormalPagePriority | MdlMappingNoExecute.
const PRIORITY: u32 = 16 | 0x4000_0000;

impl Pages {
    /// Allocates `count` pages, anywhere in physical memory.
    ///
    /// # IRQL
    /// <= APC_LEVEL.
    pub fn try_alloc(count: usize) -> Result<Self> {
        let bytes = count
            .checked_mul(PAGE_SIZE)
            .ok_or(Status::INTEGER_OVERFLOW)?;
        if count == 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: <= APC_LEVEL by contract; any address range; 1 is MmCached.
        let mdl = unsafe { sys::MmAllocatePagesForMdlEx(0, i64::MAX, 0, bytes, 1, FULLY) };
        let mdl = NonNull::new(mdl).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        // SAFETY: a live MDL of locked pages; kernel mode, failure is a NULL.
        let base = unsafe {
            sys::MmMapLockedPagesSpecifyCache(
                mdl.as_ptr(),
                0,
                1,
                core::ptr::null_mut(),
                0,
                PRIORITY,
            )
        };
        let Some(base) = NonNull::new(base.cast()) else {
            free(mdl);
            return Err(Status::INSUFFICIENT_RESOURCES);
        };
        Ok(Self { mdl, base, count })
    }

    /// Frame numbers, in the order of the mapping.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn frames(&self) -> &[u64] {
        // SAFETY: the frame numbers follow the MDL.
        let first = unsafe { self.mdl.add(1) }.cast::<u64>();
        // SAFETY: one for each page, unchanged until the pages are freed.
        unsafe { core::slice::from_raw_parts(first.as_ptr(), self.count) }
    }

    /// The memory.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn shared(&self) -> Shared<'_> {
        Shared {
            base: self.base,
            len: self.count * PAGE_SIZE,
            owner: core::marker::PhantomData,
        }
    }

    /// Unmaps the pages and never frees them: somebody outside goes on using them until the machine ends.
    ///
    /// # IRQL
    /// <= APC_LEVEL.
    pub fn abandon(self) {
        let pages = core::mem::ManuallyDrop::new(self);
        // SAFETY: mapped by `try_alloc`, not used again: the value is never dropped.
        unsafe { sys::MmUnmapLockedPages(pages.base.as_ptr().cast(), pages.mdl.as_ptr()) };
        // SAFETY: the MDL is pool; the pages that it names stay allocated.
        unsafe { sys::ExFreePool(pages.mdl.as_ptr().cast()) };
    }
}

fn free(mdl: NonNull<MDL>) {
    // SAFETY: pages of MmAllocatePagesForMdlEx, not mapped, not used again.
    unsafe { sys::MmFreePagesFromMdl(mdl.as_ptr()) };
    // SAFETY: that call frees the pages only; the MDL is pool.
    unsafe { sys::ExFreePool(mdl.as_ptr().cast()) };
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `try_alloc`, not used again.
        unsafe { sys::MmUnmapLockedPages(self.base.as_ptr().cast(), self.mdl.as_ptr()) };
        free(self.mdl);
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({})", self.count)
    }
}
