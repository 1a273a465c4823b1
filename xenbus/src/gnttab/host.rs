// SPDX-License-Identifier: BSD-2-Clause
//! The seam under the grant table: what Xen and the machine provide, and the layout of an entry.
//!
//! On Windows the C edge implements [`GrantHost`] over xen.sys and kexec; on a host the tests' fake does.

use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use kexec::Result;

/// Entries in a frame of the table.
pub const ENTRIES: usize = 512;
/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// Which type an entry is of; 0 is none.
const TYPE: u16 = 3;
/// The peer may map the page.
const PERMIT: u16 = 1;
/// It may only read.
const READ_ONLY: u16 = 1 << 2;
/// Set by Xen: the peer has the page mapped, or copies from or to it.
const IN_USE: u16 = 1 << 3 | 1 << 4;

/// An entry of version 1, 8 bytes, shared with Xen: it sets and clears the in-use bits, the rest is ours.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Entry {
    flags: AtomicU16,
    domain: AtomicU16,
    frame: AtomicU32,
}

const _: () = assert!(size_of::<Entry>() as u64 * ENTRIES as u64 == PAGE);

/// What an entry says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Type and flags, of one load.
    pub flags: u16,
    /// Who may use the frame.
    pub domain: u16,
    /// The frame granted, if there is one.
    pub frame: u32,
}

impl Snapshot {
    /// Whether the peer may only read.
    #[must_use]
    pub fn read_only(self) -> bool {
        self.flags & READ_ONLY != 0
    }
}

impl Entry {
    /// Lets `domain` use `frame`. The permission is stored after everything else, and with release order: a reference that is
    /// published afterwards names a complete entry.
    ///
    /// The entry must be clear.
    pub fn permit(&self, domain: u16, frame: u32, read_only: bool) {
        let flags = if read_only { READ_ONLY } else { 0 };
        self.domain.store(domain, Ordering::Relaxed);
        self.frame.store(frame, Ordering::Relaxed);
        self.flags.store(flags, Ordering::Relaxed);
        self.flags.store(flags | PERMIT, Ordering::Release);
    }

    /// Ends the permission and clears the entry, unless it is in use: then nothing changes, and the answer is false.
    ///
    /// One load gives the expectation of the exchange, so that a use which begins in between makes it fail. A use that began
    /// earlier keeps frame and domain of its own inside Xen: the number must not be given to anybody else before this
    /// succeeded.
    #[must_use]
    pub fn try_revoke(&self) -> bool {
        let expected = self.flags.load(Ordering::Relaxed) & !IN_USE;
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let ended = self
            .flags
            .compare_exchange(expected, expected & !TYPE, order.0, order.1)
            .is_ok();
        if ended {
            self.frame.store(0, Ordering::Relaxed);
            self.domain.store(0, Ordering::Relaxed);
            self.flags.store(0, Ordering::Release);
        }
        ended
    }

    /// What the entry says now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            flags: self.flags.load(Ordering::Acquire),
            domain: self.domain.load(Ordering::Relaxed),
            frame: self.frame.load(Ordering::Relaxed),
        }
    }

    /// The three words, for a test that plays Xen.
    #[cfg(any(test, not(windows)))]
    #[must_use]
    pub fn words(&self) -> (&AtomicU16, &AtomicU16, &AtomicU32) {
        (&self.flags, &self.domain, &self.frame)
    }
}

/// A frame of the table in the guest's memory. Dropping it takes the frame away and gives the memory back, where that works.
pub trait TableFrame: Send + Sync {
    /// Its entries.
    fn entries(&self) -> &[Entry; ENTRIES];
}

/// Guest frames without memory behind them, one after the other. Dropping it fills them again and gives them back;
/// forgetting it (`core::mem::forget`) leaks them.
pub trait ForeignHole: Send + Sync {
    /// Guest physical address of the first.
    fn address(&self) -> u64;
}

/// Hypercalls and pages. Everything at `<= DISPATCH_LEVEL`, [`Self::restore_frame`] at any level.
pub trait GrantHost: Send + Sync {
    /// A frame of the table.
    type Frame: TableFrame;
    /// Room for foreign pages.
    type Hole: ForeignHole;

    /// The most frames that the table may have.
    ///
    /// # Errors
    /// The hypercall's, as for every method here.
    fn max_frames(&self) -> Result<u32>;
    /// The version of the entries, 1 or 2.
    ///
    /// # Errors
    /// The hypercall's.
    fn version(&self) -> Result<u32>;
    /// Changes the version; entries that are in use forbid it.
    ///
    /// # Errors
    /// The hypercall's.
    fn set_version(&self, version: u32) -> Result;
    /// Puts frame `index` of the table into the guest's memory; Xen makes the table longer if it has to.
    ///
    /// # Errors
    /// `NO_MEMORY`, or the hypercall's.
    fn map_frame(&self, index: u32) -> Result<Self::Frame>;
    /// Puts frame `index` of a new domain's table where `frame` was.
    ///
    /// # Errors
    /// The hypercall's.
    fn restore_frame(&self, frame: &Self::Frame, index: u32) -> Result;
    /// Room for `pages` foreign pages.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    fn hole(&self, pages: u32) -> Result<Self::Hole>;
    /// Maps a page that another domain granted at a guest physical address in a hole; the handle for unmapping.
    ///
    /// # Errors
    /// The operation's.
    fn map(&self, domain: u16, reference: u32, address: u64, read_only: bool) -> Result<u32>;
    /// Undoes [`Self::map`].
    ///
    /// # Errors
    /// The operation's; the page stays mapped then.
    fn unmap(&self, handle: u32, address: u64) -> Result;
    /// Gives the rest of the time slice away, so that a peer may come to unmap.
    fn yield_now(&self);
}
