// SPDX-License-Identifier: BSD-2-Clause
//! Non-paged, no-execute pool: [`Box`], [`Arc`], [`Vec`], [`String`], all fallible and tagged.
//!
//! There is no global allocator. Every block is NonPagedPoolNx, so it may be touched at any IRQL; making and dropping one needs
//! <= DISPATCH_LEVEL.
#![expect(unsafe_code, reason = "raw blocks behind owning types")]

mod arc;
mod boxed;
mod link;
mod string;
mod vec;

pub use arc::Arc;
pub use boxed::Box;
pub use link::Link;
pub use string::{String, WString};
pub use vec::{IntoIter, Vec};

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::nt::sys;
use crate::{Result, Status};

/// A pool tag: four characters as a debugger prints them.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub [u8; 4]);

impl Tag {
    const fn raw(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

/// Bytes to ask the pool for, so that its alignment (16, or a page from one page on) is at least that of `layout`.
const fn size_for(layout: Layout) -> usize {
    let size = if layout.size() == 0 { 1 } else { layout.size() };
    if layout.align() > 16 && size < 4096 {
        4096
    } else {
        size
    }
}

/// An uninitialised block of `layout`.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub(crate) fn allocate(tag: Tag, layout: Layout) -> Result<NonNull<u8>> {
    if layout.align() > 4096 {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: <= DISPATCH_LEVEL by contract, size and tag not zero.
    let block =
        unsafe { sys::ExAllocatePoolWithTag(sys::NonPagedPoolNx, size_for(layout), tag.raw()) };
    NonNull::new(block.cast()).ok_or(Status::INSUFFICIENT_RESOURCES)
}

/// Gives back a block of [`allocate`].
///
/// # IRQL
/// <= DISPATCH_LEVEL.
///
/// # Safety
/// `block` came from [`allocate`] with the same tag and is not used again.
pub(crate) unsafe fn release(tag: Tag, block: NonNull<u8>) {
    // SAFETY: by this function's contract.
    unsafe { sys::ExFreePoolWithTag(block.as_ptr().cast(), tag.raw()) };
}
