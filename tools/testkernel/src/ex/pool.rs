// SPDX-License-Identifier: BSD-2-Clause
//! The pool.

use crate::mem::Ptr;

/// A four-character tag as the drivers spell it.
pub const fn tag(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}

/// Allocates non-paged, non-executable pool that a driver will free (id strings, resource lists, relations): the
/// contents are undefined; 16-byte aligned, page aligned from one page on; null when there is none. It counts
/// as the kernel's own until freed.
pub fn allocate(_size: usize, _tag: u32) -> Ptr {
    unimplemented!()
}

/// Frees pool (as `ExFreePool`).
pub fn free(_block: Ptr) {
    unimplemented!()
}

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
