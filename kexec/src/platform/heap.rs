// SPDX-License-Identifier: BSD-2-Clause
//! Task blocks from the host's heap, for the platforms that run there.
#![expect(unsafe_code, reason = "calls the global allocator")]

use core::alloc::Layout;
use core::ptr::NonNull;

/// A block aligned to 16, or `None`.
pub(super) fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: a task's layout is not empty.
    NonNull::new(unsafe { std::alloc::alloc(layout) })
}

/// # Safety
/// `block` came from [`allocate`] with this layout and is not used again.
pub(super) unsafe fn free(block: NonNull<u8>, layout: Layout) {
    // SAFETY: by contract.
    unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
}
