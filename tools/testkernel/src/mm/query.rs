// SPDX-License-Identifier: BSD-2-Clause
//! Questions about physical memory.

use super::PAGE;
use crate::arch;
use crate::ex::pool;
use crate::export::P;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};

/// Pool array of {base, length}, whole pages, ended by zeros; the caller frees it.
extern "win64" fn mm_get_physical_memory_ranges() -> Ptr {
    let ranges = arch::memory_ranges();
    if pool::shall_fail() {
        return Ptr::NULL;
    }
    let block = pool::allocate_for_caller((ranges.len() + 1) * 16, pool::tag(b"hPmM"));
    if block.is_null() {
        return block;
    }
    let mask = PAGE as u64 - 1;
    let mut at = block;
    for r in ranges {
        let (start, end) = ((r.base + mask) & !mask, (r.base + r.len) & !mask);
        at.set(0, start);
        at.set(8, end - start);
        at = at.add(16);
    }
    at.set(0, 0u64);
    at.set(8, 0u64);
    block
}

extern "win64" fn mm_add_physical_memory(_start: Ptr, _len: Ptr) -> NtStatus {
    // Hot-added RAM would need new tables; drivers get the honest answer of a system that cannot.
    status::NOT_SUPPORTED
}

crate::exports! {
    "MmGetPhysicalMemoryRanges", P => mm_get_physical_memory_ranges;
    "MmAddPhysicalMemory", P => mm_add_physical_memory;
}
