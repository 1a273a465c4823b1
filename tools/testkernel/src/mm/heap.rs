// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's own heap: a fixed arena behind the interrupt-safe lock, so it works at every IRQL. Drivers' pool is
//! elsewhere (`ex::pool`), on whole pages, where it can be checked.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use linked_list_allocator::Heap;

use crate::sync::Lock;

const SIZE: usize = 12 << 20;

#[repr(C, align(4096))]
struct Arena([u8; SIZE]);

static mut ARENA: Arena = Arena([0; SIZE]);

struct Kernel(Lock<Heap>);

#[global_allocator]
static HEAP: Kernel = Kernel(Lock::new(Heap::empty()));

// SAFETY: `Heap` is a correct allocator; the lock serialises it and cannot be re-entered.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0
            .lock()
            .allocate_first_fit(layout)
            .map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            let mut heap = self.0.lock();
            // SAFETY: the caller got the block from `alloc` with this layout.
            unsafe { heap.deallocate(block, layout) }
        }
    }
}

/// Gives the heap its arena; once.
pub(crate) fn init() {
    let start = (&raw mut ARENA).cast::<u8>();
    // SAFETY: the arena is used for nothing else.
    unsafe { HEAP.0.lock().init(start, SIZE) }
}
