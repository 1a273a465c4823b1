// SPDX-License-Identifier: BSD-2-Clause
//! [`Contiguous`]: pages that follow each other in physical memory.
//!
//! What a hypervisor may put other pages in place of. One page comes from pool, which may be allocated and freed at
//! DISPATCH_LEVEL; several come from the memory manager, which takes them back at `<= APC_LEVEL` only.
#![expect(unsafe_code, reason = "owns raw pages")]

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use super::memory::{PAGE_SIZE, Shared};
use super::pool::{Tag, allocate, release};
use super::sys;
use crate::{Result, Status};

/// MmCached.
const CACHED: u32 = 1;

/// Mapped pages that follow each other in physical memory, freed on drop. Their contents are whatever was there.
///
/// # Invariants
/// `base` is a block of `count` pages: from pool with `tag` when `count` is 1, else from MmAllocateContiguousMemorySpecifyCache.
///
/// # IRQL
/// Making: <= DISPATCH_LEVEL. Dropping: <= DISPATCH_LEVEL for one page, <= APC_LEVEL for more. Use: any.
pub struct Contiguous {
    base: NonNull<u8>,
    count: usize,
    tag: Tag,
}

// SAFETY: owned pages, visible on every processor; access is through atomics.
unsafe impl Send for Contiguous {}
// SAFETY: as above.
unsafe impl Sync for Contiguous {}

fn page() -> Result<Layout> {
    Layout::from_size_align(PAGE_SIZE, PAGE_SIZE).map_err(|_| Status::INTEGER_OVERFLOW)
}

impl Contiguous {
    /// Allocates `count` pages below the highest physical address that there is.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_alloc(tag: Tag, count: usize) -> Result<Self> {
        let bytes = count
            .checked_mul(PAGE_SIZE)
            .ok_or(Status::INTEGER_OVERFLOW)?;
        let base = match count {
            0 => return Err(Status::INVALID_PARAMETER),
            1 => allocate(tag, page()?)?,
            // SAFETY: <= DISPATCH_LEVEL by contract; at least one page, any address, no boundary.
            _ => NonNull::new(unsafe {
                sys::MmAllocateContiguousMemorySpecifyCache(bytes, 0, i64::MAX, 0, CACHED)
            })
            .ok_or(Status::INSUFFICIENT_RESOURCES)?
            .cast(),
        };
        // INVARIANT: allocated above, one page from pool, several from the memory manager.
        Ok(Self { base, count, tag })
    }

    /// Number of pages.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Physical address of the first page.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn address(&self) -> u64 {
        // SAFETY: a mapped address (invariant); callable at any IRQL.
        unsafe { sys::MmGetPhysicalAddress(self.base.as_ptr().cast()) }.cast_unsigned()
    }

    /// The memory.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn shared(&self) -> Shared<'_> {
        // SAFETY: mapped whole while `self` lives (invariant).
        unsafe { Shared::new(self.base, self.count * PAGE_SIZE) }
    }
}

impl Drop for Contiguous {
    fn drop(&mut self) {
        if self.count == 1 {
            // SAFETY: one page of pool with this tag (invariant), not used again.
            unsafe { release(self.tag, self.base) };
        } else {
            // SAFETY: from MmAllocateContiguousMemorySpecifyCache (invariant), not used again; <= APC_LEVEL by contract.
            unsafe { sys::MmFreeContiguousMemory(self.base.as_ptr().cast()) };
        }
    }
}

impl fmt::Debug for Contiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contiguous({})", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irql::Raised;
    use crate::nt::sys::fake;

    const TAG: Tag = Tag(*b"test");

    #[test]
    fn a_page_comes_and_goes_at_dispatch_level_and_is_aligned() {
        let _kernel = fake::boot();
        let _raised = Raised::to_dispatch();
        let page = Contiguous::try_alloc(TAG, 1).expect("memory");
        assert_eq!(page.address() % PAGE_SIZE as u64, 0);
        assert_eq!(page.shared().atomics_u64().len(), 512);
    }

    #[test]
    fn several_pages_come_at_dispatch_level_and_go_below_it() {
        let _kernel = fake::boot();
        let raised = Raised::to_dispatch();
        let pages = Contiguous::try_alloc(TAG, 3).expect("memory");
        drop(raised);
        assert_eq!(pages.shared().len(), 3 * PAGE_SIZE);
        assert_eq!(pages.count(), 3);
    }

    #[test]
    fn no_pages_and_no_memory_are_errors() {
        let kernel = fake::boot();
        let nothing = Contiguous::try_alloc(TAG, 0).err();
        assert_eq!(nothing, Some(Status::INVALID_PARAMETER));
        for count in [1, 2] {
            kernel.fail_alloc(Some(0));
            let refused = Contiguous::try_alloc(TAG, count).err();
            assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
        }
    }
}
