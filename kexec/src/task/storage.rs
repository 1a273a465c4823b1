// SPDX-License-Identifier: BSD-2-Clause
//! [`TaskStorage`]: memory for one task at a time that the caller provides, so that spawning cannot run out of memory.
#![expect(unsafe_code, reason = "raw memory with a claim on it")]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

/// Room for a header of [`HEADER_SIZE`](super::HEADER_SIZE) bytes with a future, or its output, behind it: `SIZE` bytes in all.
///
/// ```
/// use kexec::task::TaskStorage;
/// static WATCHDOG: TaskStorage<256> = TaskStorage::new();
/// assert!(WATCHDOG.is_free());
/// ```
///
/// # IRQL
/// Any.
#[repr(C, align(64))]
pub struct TaskStorage<const SIZE: usize> {
    taken: AtomicBool,
    block: UnsafeCell<Room<SIZE>>,
}

#[repr(C, align(64))]
struct Room<const SIZE: usize>([MaybeUninit<u8>; SIZE]);

/// Bytes from the start of a storage to the block in it.
const BLOCK: usize = offset_of!(TaskStorage<64>, block);

/// Largest alignment of a block.
pub(crate) const ALIGN: usize = align_of::<Room<64>>();

// SAFETY: the room belongs to the one who set `taken`; the task that is put into it is `Send`.
unsafe impl<const SIZE: usize> Sync for TaskStorage<SIZE> {}

impl<const SIZE: usize> TaskStorage<SIZE> {
    /// Free storage.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(offset_of!(Self, block) == BLOCK) };
        Self {
            taken: AtomicBool::new(false),
            block: UnsafeCell::new(Room([MaybeUninit::uninit(); SIZE])),
        }
    }

    /// Whether no task is in it: none was spawned into it, or its executor has let go of the last one's block.
    #[must_use]
    pub fn is_free(&self) -> bool {
        !self.taken.load(Ordering::Acquire)
    }

    /// The room, which belongs to the caller until [`release`].
    pub(crate) fn claim(&self) -> Option<NonNull<u8>> {
        // Acquire: behind all that the last task did there.
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // From the whole, so that `release` may go back to `taken`. Writable: the room is a cell.
        // SAFETY: within `self`.
        Some(unsafe { NonNull::from(self).cast::<u8>().add(BLOCK) })
    }
}

/// Gives back the room of a storage.
///
/// # Safety
/// `block` came from [`TaskStorage::claim`], the storage is alive, and the room is not used again.
pub(crate) unsafe fn release(block: NonNull<u8>) {
    // SAFETY: the room is at this distance in a storage of any size (asserted in `new`), and `taken` at its start (repr(C)).
    let taken = unsafe { block.sub(BLOCK) }.cast::<AtomicBool>();
    // SAFETY: alive by contract; shared only.
    unsafe { taken.as_ref() }.store(false, Ordering::Release);
}

impl<const SIZE: usize> Default for TaskStorage<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SIZE: usize> fmt::Debug for TaskStorage<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_free() { "free" } else { "taken" };
        write!(f, "TaskStorage({SIZE} bytes, {state})")
    }
}
