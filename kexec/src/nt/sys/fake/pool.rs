// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's pool: owners, tags, poison, and failure on request.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use std::alloc::Layout;

use super::{Block, Kernel, at_most};
use crate::nt::sys::*;

/// What a freed block is filled with.
pub(super) const FREED: u8 = 0xdd;
const FRESH: u8 = 0xa5;

pub unsafe fn ExAllocatePoolWithTag(pool: u32, size: usize, tag: u32) -> PVOID {
    at_most("ExAllocatePoolWithTag", 2);
    assert!(
        pool == NonPagedPoolNx,
        "ExAllocatePoolWithTag: pool type {pool}, only NonPagedPoolNx is used"
    );
    assert!(
        size != 0 && tag != 0,
        "ExAllocatePoolWithTag: size {size}, tag {tag:#x}"
    );
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let number = state.allocations;
    state.allocations += 1;
    if state.fail_at == Some(number) {
        state.fail_at = None;
        return core::ptr::null_mut();
    }
    let align = if size >= 4096 { 4096 } else { 16 };
    let Ok(layout) = Layout::from_size_align(size, align) else {
        return core::ptr::null_mut();
    };
    // SAFETY: the size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    if block.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: just allocated with `size` bytes.
    unsafe { block.write_bytes(FRESH, size) };
    state
        .pool
        .insert(block as usize, Block { layout, size, tag });
    block.cast()
}

fn free(call: &str, block: PVOID, tag: Option<u32>) {
    at_most(call, 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let Some(found) = state.pool.remove(&(block as usize)) else {
        let again = state.freed.contains_key(&(block as usize));
        drop(state);
        panic!(
            "{call}: {}",
            if again {
                "double free"
            } else {
                "not a pool block"
            }
        );
    };
    if let Some(tag) = tag {
        assert!(
            found.tag == tag,
            "{call}: tag {tag:#x}, block has {:#x}",
            found.tag
        );
    }
    let range = block as usize..block as usize + found.size;
    let dpc = state.dpcs.iter().any(|queued| range.contains(&queued.dpc));
    assert!(!dpc, "{call}: block holds a queued DPC");
    let timer = state
        .timers
        .iter()
        .any(|timer| range.contains(&timer.timer));
    assert!(!timer, "{call}: block holds a set timer");
    // SAFETY: the block is live and has this size.
    unsafe { block.cast::<u8>().write_bytes(FREED, found.size) };
    state.freed.insert(block as usize, found);
}

pub unsafe fn ExFreePoolWithTag(block: PVOID, tag: u32) {
    free("ExFreePoolWithTag", block, Some(tag));
}

pub unsafe fn ExFreePool(block: PVOID) {
    free("ExFreePool", block, None);
}
