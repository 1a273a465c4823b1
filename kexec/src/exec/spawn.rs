// SPDX-License-Identifier: BSD-2-Clause
//! Where a task's block comes from, and where it goes back: one allocation of the platform, or storage of the caller.
#![expect(unsafe_code, reason = "raw, type-erased task blocks")]

use core::alloc::Layout;
use core::future::Future;
use core::ptr::{NonNull, null_mut};

use super::Core;
use crate::atomic::{AtomicPtr, AtomicU32, AtomicWaker, Ordering};
use crate::nt::Arc;
use crate::task::{
    Block, Group, Header, JOIN, JoinHandle, REF, SCHEDULED, Site, SpawnError, TaskStorage,
    block_layout, storage,
};
use crate::{Platform, Status};

/// `Header::offset` of a block in the caller's storage.
const STORED: u16 = u16::MAX;

impl<P: Platform> Core<P> {
    /// Spawns `future` at `site`, in `group` when given. One allocation.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    ///
    /// # Errors
    /// Out of memory, or the group or the executor is stopping; the future comes back.
    ///
    /// # Safety
    /// The core does not move any more and is not dropped before [`Self::is_empty`].
    pub unsafe fn spawn<S, F>(
        &self,
        site: S,
        group: Option<&Arc<Group>>,
        future: F,
    ) -> Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let allocate = || {
            let (layout, align) = block_layout(Layout::new::<Block<S, F>>())?;
            let base = self.platform().allocate(layout)?;
            let offset = base.as_ptr().addr().next_multiple_of(align) - base.as_ptr().addr();
            // SAFETY: the layout has `align - 16` bytes to spare, and bases are 16-byte aligned.
            Some((unsafe { base.add(offset) }, offset as u16))
        };
        // SAFETY: by contract; a fresh block.
        unsafe {
            self.place(
                site,
                group,
                future,
                allocate,
                Status::INSUFFICIENT_RESOURCES,
            )
        }
    }

    /// Spawns `future` at `site` into `storage`, in `group` when given. No allocation; that the task fits is checked at compile
    /// time.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    ///
    /// # Errors
    /// `DEVICE_BUSY`: the storage is not free; or the group or the executor is stopping. The future comes back.
    ///
    /// # Safety
    /// As [`Self::spawn`], and `storage` neither moves nor goes until it is free again.
    pub unsafe fn spawn_stored<S, F, const SIZE: usize>(
        &self,
        storage: &TaskStorage<SIZE>,
        site: S,
        group: Option<&Arc<Group>>,
        future: F,
    ) -> Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        const {
            assert!(size_of::<Block<S, F>>() <= SIZE, "the storage is too small");
            assert!(
                align_of::<Block<S, F>>() <= storage::ALIGN,
                "the future's alignment"
            );
        }
        let claim = || Some((storage.claim()?, STORED));
        // SAFETY: by contract; the room is ours, large enough and aligned.
        unsafe { self.place(site, group, future, claim, Status::DEVICE_BUSY) }
    }

    /// Spawns into the block that `block` gives, with the value for its header's `offset`, or fails with `none`.
    ///
    /// # Safety
    /// As [`Self::spawn`]; the block has room and alignment for a `Block<S, F>` and stays until it is given back.
    #[inline]
    unsafe fn place<S, F>(
        &self,
        _site: S,
        group: Option<&Arc<Group>>,
        future: F,
        block: impl FnOnce() -> Option<(NonNull<u8>, u16)>,
        none: Status,
    ) -> Result<JoinHandle<F::Output>, SpawnError<F>>
    where
        S: Site,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        // Counted first: `close` either sees the block or is seen by it.
        self.head.blocks.fetch_add(1, Ordering::SeqCst);
        let refuse = |future, status| {
            self.head.blocks.fetch_sub(1, Ordering::SeqCst);
            Err(SpawnError { future, status })
        };
        if self.head.closed.load(Ordering::SeqCst) {
            return refuse(future, Status::DELETE_PENDING);
        }
        if let Some(group) = group {
            assert!(
                core::ptr::eq(group.core(), &self.head),
                "group of another executor"
            );
            if !group.enter() {
                return refuse(future, Status::DELETE_PENDING);
            }
        }
        let Some((task, offset)) = block() else {
            if let Some(group) = group {
                group.leave();
            }
            return refuse(future, none);
        };
        let header = Header {
            state: AtomicU32::new(SCHEDULED | JOIN | (2 * REF)),
            polls: AtomicU32::new(0),
            next: AtomicPtr::new(null_mut()),
            core: &raw const self.head,
            vtable: &Block::<S, F>::VTABLE,
            list_next: AtomicPtr::new(null_mut()),
            list_prev: AtomicPtr::new(null_mut()),
            group: group.map_or(core::ptr::null(), |group| Arc::into_raw(group.clone())),
            wakes: AtomicU32::new(0),
            offset,
            linked: core::cell::Cell::new(false),
            join: AtomicWaker::new(),
        };
        let task = task.cast::<Block<S, F>>();
        // SAFETY: room for a block, aligned, by contract.
        unsafe { task.write(Block::new(header, future)) };
        let task = task.cast::<Header>();
        // SAFETY: two references were counted: the executor's and this one.
        let handle = unsafe { JoinHandle::new(task) };
        // SAFETY: SCHEDULED was set at birth, so this is the one push for it.
        unsafe { self.head.push(task) };
        Ok(handle)
    }

    /// Gives back the block of a task to where it came from.
    ///
    /// # Safety
    /// `task` is a block made by `place` with this `offset`, of this size as its table has it, and nobody uses it any more.
    pub(super) unsafe fn give_back(&self, task: NonNull<u8>, size: usize, offset: u16) {
        if offset == STORED {
            // SAFETY: claimed by `spawn_stored`, alive until it is free again.
            unsafe { storage::release(task) };
            return;
        }
        // SAFETY: the allocation began `offset` bytes before the header.
        let base = unsafe { task.sub(usize::from(offset)) };
        let layout = Layout::from_size_align(size, 16)
            .expect("the layout was valid when the block was allocated");
        // SAFETY: allocated by this platform with this layout (`block_layout`).
        unsafe { self.platform().free(base, layout) };
    }
}
