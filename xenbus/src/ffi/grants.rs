// SPDX-License-Identifier: BSD-2-Clause
//! The real side of the grant table's seam: hypercalls through xen.sys, and holes in the guest's memory.
//!
//! A hole is memory of ours that was given back to Xen, so that its frames can show something else. Undone, Xen fills the
//! frames again and the memory goes back to the system. Where one of the two fails, the memory is leaked: its frames have
//! nothing behind them, or somebody else's page. Several pages cannot be freed at DISPATCH_LEVEL; they wait in [`Spare`].

use core::mem::ManuallyDrop;

use kexec::nt::{Arc, Contiguous, SpinLock, Vec};
use kexec::{Result, Status, irql, warn};
use xenbus_interface::xen;

use super::TAG;
use crate::gnttab::host::{ENTRIES, Entry, ForeignHole, GrantHost, PAGE, TableFrame};

/// Frames of one memory operation.
const BATCH: usize = 64;

/// Memory that is to be freed at `<= APC_LEVEL`.
struct Spare(SpinLock<Vec<Contiguous>>);

impl Spare {
    /// Frees what waits, if the level allows it now.
    fn free(&self) {
        if irql::current() > irql::APC_LEVEL {
            return;
        }
        let list = core::mem::replace(&mut *self.0.lock(), Vec::new(TAG));
        drop(list);
    }

    fn keep(&self, memory: Contiguous) {
        let mut list = self.0.lock();
        if list.try_reserve(1).is_ok() {
            // There is room.
            let _ = list.try_push(memory);
        } else {
            warn!(
                "gnttab: {} pages lost, no memory to remember them",
                memory.count()
            );
            core::mem::forget(memory);
        }
    }
}

/// Gives `frames` frames from `first` on to Xen, or takes memory for them: how many were done.
fn each(first: u64, frames: u64, operate: fn(u32, &[u64]) -> Result<usize>) -> u64 {
    let mut done = 0;
    while done < frames {
        let mut batch = [0; BATCH];
        let count = (frames - done).min(BATCH as u64);
        for (place, frame) in batch.iter_mut().zip(first + done..) {
            *place = frame;
        }
        // At most BATCH.
        let count = count as usize;
        let moved = operate(0, &batch[..count]).unwrap_or(0);
        done += moved as u64;
        if moved != count {
            break;
        }
    }
    done
}

/// See the module.
pub(super) struct Hole {
    memory: ManuallyDrop<Contiguous>,
    frame: u64,
    spare: Arc<Spare>,
}

impl Hole {
    fn try_new(pages: u32, spare: &Arc<Spare>) -> Result<Self> {
        let memory = Contiguous::try_alloc(TAG, pages as usize)?;
        let frame = memory.address() / PAGE;
        let hole = Self {
            memory: ManuallyDrop::new(memory),
            frame,
            spare: spare.clone(),
        };
        let done = each(frame, u64::from(pages), xen::memory_decrease_reservation);
        if done != u64::from(pages) {
            // Filling a frame that has memory is refused, so only those that were given are asked for.
            hole.close(done);
            return Err(Status::NO_MEMORY);
        }
        Ok(hole)
    }

    /// Fills the first `frames` frames and frees the memory.
    fn close(self, frames: u64) {
        let mut this = ManuallyDrop::new(self);
        this.fill(frames);
    }

    fn fill(&mut self, frames: u64) {
        let done = each(self.frame, frames, xen::memory_populate_physmap);
        if done == frames {
            // SAFETY: taken once: `fill` is called by `drop`, or by `close`, which prevents it.
            let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
            if memory.count() == 1 || irql::current() <= irql::APC_LEVEL {
                drop(memory);
            } else {
                self.spare.keep(memory);
            }
        } else {
            let frame = self.frame;
            warn!("gnttab: frame {frame:#x} and following have no memory any more and are lost");
        }
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.fill(self.memory.count() as u64);
    }
}

impl ForeignHole for Hole {
    fn address(&self) -> u64 {
        self.frame * PAGE
    }
}

/// A frame of the table.
pub(super) struct Frame(ManuallyDrop<Hole>);

impl TableFrame for Frame {
    fn entries(&self) -> &[Entry; ENTRIES] {
        let page = self.0.memory.shared().as_ptr().cast::<[Entry; ENTRIES]>();
        // SAFETY: a page that is mapped while `self` lives, aligned, as long as the entries; their fields are atomics.
        unsafe { &*page }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let frame = self.0.frame;
        match xen::memory_remove_from_physmap(frame) {
            // SAFETY: dropped once, here.
            Ok(()) => unsafe { ManuallyDrop::drop(&mut self.0) },
            Err(status) => warn!("gnttab: frame {frame:#x} stays mapped and is lost, {status}"),
        }
    }
}

/// Xen and the machine, as the grant table sees them.
pub(super) struct Grants {
    spare: Arc<Spare>,
}

impl Grants {
    pub(super) fn try_new() -> Result<Self> {
        let spare = Arc::try_new(TAG, Spare(SpinLock::new(Vec::new(TAG))))?;
        Ok(Self { spare })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.free();
        // Above APC_LEVEL what is left is lost.
        core::mem::forget(core::mem::replace(self.0.get_mut(), Vec::new(TAG)));
    }
}

impl GrantHost for Grants {
    type Frame = Frame;
    type Hole = Hole;

    fn max_frames(&self) -> Result<u32> {
        xen::grant_table_query_size().map(|(_, most)| most)
    }

    fn version(&self) -> Result<u32> {
        xen::grant_table_version()
    }

    fn set_version(&self, version: u32) -> Result {
        xen::grant_table_set_version(version)
    }

    fn map_frame(&self, index: u32) -> Result<Frame> {
        let hole = Hole::try_new(1, &self.spare)?;
        xen::memory_add_to_physmap(hole.frame, xen::MAPSPACE_GRANT_TABLE, u64::from(index))?;
        Ok(Frame(ManuallyDrop::new(hole)))
    }

    fn restore_frame(&self, frame: &Frame, index: u32) -> Result {
        xen::memory_add_to_physmap(frame.0.frame, xen::MAPSPACE_GRANT_TABLE, u64::from(index))
    }

    fn hole(&self, pages: u32) -> Result<Hole> {
        self.spare.free();
        Hole::try_new(pages, &self.spare)
    }

    fn map(&self, domain: u16, reference: u32, address: u64, read_only: bool) -> Result<u32> {
        xen::grant_table_map_foreign_page(domain, reference, address, read_only)
    }

    fn unmap(&self, handle: u32, address: u64) -> Result {
        xen::grant_table_unmap_foreign_page(handle, address)
    }

    fn yield_now(&self) {
        xen::sched_yield();
    }
}
