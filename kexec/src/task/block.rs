// SPDX-License-Identifier: BSD-2-Clause
//! [`Block`]: header, future and output of one task in one allocation.
//!
//! The future is there until COMPLETE, the output after it while OUTPUT is set; both share their storage.
#![expect(
    unsafe_code,
    reason = "a union of future and output behind a type-erased header"
)]

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use super::header::{Header, VTable};
use super::info::{InfoOf, Site};

union Stage<F: Future> {
    future: ManuallyDrop<F>,
    #[expect(
        dead_code,
        reason = "gives the union its size; the output is reached by address"
    )]
    output: ManuallyDrop<F::Output>,
}

/// One task in memory.
#[repr(C)]
pub(crate) struct Block<S, F: Future> {
    pub(crate) header: Header,
    stage: UnsafeCell<Stage<F>>,
    site: PhantomData<S>,
}

/// Layout to allocate so that a `Block` at the next line boundary fits: 16-byte aligned blocks leave up to `align - 16` unused.
pub(crate) const fn block_layout(block: Layout) -> Option<(Layout, usize)> {
    let align = if block.align() > 64 {
        block.align()
    } else {
        64
    };
    let Some(size) = block.size().checked_add(align - 16) else {
        return None;
    };
    match Layout::from_size_align(size, 16) {
        Ok(layout) => Some((layout, align)),
        Err(_) => None,
    }
}

impl<S: Site, F: Future> Block<S, F> {
    pub(crate) const VTABLE: VTable = VTable {
        poll: Self::poll,
        drop_future: Self::drop_future,
        drop_output: Self::drop_output,
        output: Self::output,
        size: match block_layout(Layout::new::<Self>()) {
            Some((layout, _)) => layout.size(),
            None => panic!("future too large"),
        },
        info: &InfoOf::<S, F>::INFO,
    };

    pub(crate) fn new(header: Header, future: F) -> Self {
        Self {
            header,
            stage: UnsafeCell::new(Stage {
                future: ManuallyDrop::new(future),
            }),
            site: PhantomData,
        }
    }

    /// # Safety
    /// `task` is the header of a live `Self`.
    unsafe fn stage(task: NonNull<Header>) -> *mut Stage<F> {
        // SAFETY: the header is the first field of `Self` (repr(C)).
        let block = unsafe { task.cast::<Self>().as_ref() };
        block.stage.get()
    }

    /// # Safety
    /// As [`Self::stage`]; the runner's alone, the future is there and no output.
    unsafe fn poll(task: NonNull<Header>, context: &mut Context<'_>) -> bool {
        // SAFETY: by contract.
        let stage = unsafe { Self::stage(task) };
        // SAFETY: the future is there, and only the runner touches it.
        let future = unsafe { &mut *stage.cast::<F>() };
        // SAFETY: a block never moves, and the future is dropped in place.
        let future = unsafe { Pin::new_unchecked(future) };
        match future.poll(context) {
            Poll::Pending => false,
            Poll::Ready(output) => {
                // SAFETY: by contract the future is there; it is not touched again.
                unsafe { Self::drop_future(task) };
                let stage = stage.cast::<F::Output>();
                // SAFETY: the storage is free now and large enough for either.
                unsafe { stage.write(output) };
                true
            }
        }
    }

    /// # Safety
    /// As [`Self::stage`]; the runner's alone, the future is there and is not used again.
    unsafe fn drop_future(task: NonNull<Header>) {
        // SAFETY: by contract.
        let stage = unsafe { Self::stage(task) };
        // SAFETY: dropped once.
        unsafe { stage.cast::<F>().drop_in_place() };
    }

    /// # Safety
    /// As [`Self::stage`]; the output is there, and the caller alone may touch it.
    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: by contract.
        let stage = unsafe { Self::stage(task) };
        // SAFETY: dropped once.
        unsafe { stage.cast::<F::Output>().drop_in_place() };
    }

    /// # Safety
    /// As [`Self::stage`].
    unsafe fn output(task: NonNull<Header>) -> *mut () {
        // SAFETY: by contract.
        unsafe { Self::stage(task) }.cast()
    }
}
