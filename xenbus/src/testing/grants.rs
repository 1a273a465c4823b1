// SPDX-License-Identifier: BSD-2-Clause
//! Xen's half of the grant table in miniature: the table itself, peers that map what is granted, holes for foreign pages.

use core::array::from_fn;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use kexec::nt::{Contiguous, Tag};
use kexec::{Result, Status};

use crate::gnttab::host::{ENTRIES, Entry, ForeignHole, GrantHost, PAGE, TableFrame};

const TAG: Tag = Tag(*b"test");
/// Entry flags that Xen looks at.
const TYPE: u16 = 3;
const PERMIT: u16 = 1;
const READ_ONLY: u16 = 4;
const READING: u16 = 8;
const WRITING: u16 = 16;

type Page = Arc<[Entry; ENTRIES]>;

/// State behind the lock.
pub struct State {
    table: Vec<Page>,
    /// Frames in the guest's memory.
    pub mapped: u32,
    /// The most frames.
    pub most: u32,
    /// This frame cannot be mapped.
    pub bad_frame: Option<u32>,
    /// Version of the entries.
    pub version: Result<u32>,
    /// Whether the version may be changed.
    pub version_fixed: bool,
    /// What a peer unmaps when the guest has yielded this often: yields left, reference.
    pub unmap_after: Option<(u32, u32)>,
    /// Foreign pages mapped: handle to address, reference.
    pub foreign: BTreeMap<u32, (u64, u32)>,
    next_handle: u32,
    /// This foreign reference cannot be mapped.
    pub bad_foreign: Option<(u32, Status)>,
    /// Unmapping is refused.
    pub stuck: bool,
}

/// See the module.
pub struct FakeGrants {
    state: Mutex<State>,
    yields: AtomicU32,
    /// Holes that exist.
    pub holes: AtomicU32,
    next_address: AtomicU64,
}

/// A frame in the guest's memory.
pub struct FakeFrame {
    page: Page,
    xen: Arc<FakeGrants>,
    _memory: Contiguous,
}

/// A hole.
pub struct FakeHole {
    address: u64,
    xen: Arc<FakeGrants>,
    _memory: Contiguous,
}

fn page() -> Page {
    Arc::new(from_fn(|_| Entry::default()))
}

impl FakeGrants {
    /// A table of at most `most` frames.
    #[must_use]
    pub fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                table: Vec::new(),
                mapped: 0,
                most,
                bad_frame: None,
                version: Ok(1),
                version_fixed: false,
                unmap_after: None,
                foreign: BTreeMap::new(),
                next_handle: 1,
                bad_foreign: None,
                stuck: false,
            }),
            yields: AtomicU32::new(0),
            holes: AtomicU32::new(0),
            next_address: AtomicU64::new(0x1_0000_0000),
        })
    }

    /// The state, for tests to look at and to script.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked inside")
    }

    /// How often the guest yielded.
    pub fn yields(&self) -> u32 {
        self.yields.load(Ordering::SeqCst)
    }

    fn page_of(state: &mut State, index: usize) -> Page {
        while state.table.len() <= index {
            state.table.push(page());
        }
        state.table[index].clone()
    }

    /// The words of an entry: flags, domain, frame.
    pub fn words(&self, reference: u32) -> (u16, u16, u32) {
        let page = Self::page_of(&mut self.state(), reference as usize / ENTRIES);
        let (flags, domain, frame) = page[reference as usize % ENTRIES].words();
        (
            flags.load(Ordering::SeqCst),
            domain.load(Ordering::SeqCst),
            frame.load(Ordering::SeqCst),
        )
    }

    /// Writes an entry's flags as a lying peer, or an earlier owner of the table, might have left them.
    pub fn set_flags(&self, reference: u32, value: u16) {
        let page = Self::page_of(&mut self.state(), reference as usize / ENTRIES);
        let (flags, ..) = page[reference as usize % ENTRIES].words();
        flags.store(value, Ordering::SeqCst);
    }

    /// Domain `domain` maps a page as Xen allows it: the frame, or nothing.
    pub fn peer_map(&self, domain: u16, reference: u32, write: bool) -> Option<u32> {
        let page = Self::page_of(&mut self.state(), reference as usize / ENTRIES);
        let (flags, owner, frame) = page[reference as usize % ENTRIES].words();
        let old = flags.load(Ordering::SeqCst);
        let allowed = old & TYPE == PERMIT
            && owner.load(Ordering::SeqCst) == domain
            && !(write && old & READ_ONLY != 0);
        let new = old | READING | if write { WRITING } else { 0 };
        let order = Ordering::SeqCst;
        (allowed && flags.compare_exchange(old, new, order, order).is_ok())
            .then(|| frame.load(Ordering::SeqCst))
    }

    /// The peer gives the page up.
    pub fn peer_unmap(&self, reference: u32) {
        let page = Self::page_of(&mut self.state(), reference as usize / ENTRIES);
        let (flags, ..) = page[reference as usize % ENTRIES].words();
        flags.fetch_and(!(READING | WRITING), Ordering::SeqCst);
    }

    /// The domain was restored elsewhere: the table is empty and nowhere in the guest's memory.
    pub fn resume(&self) {
        let mut state = self.state();
        for page in &state.table {
            for entry in page.iter() {
                let (flags, domain, frame) = entry.words();
                flags.store(0, Ordering::SeqCst);
                domain.store(0, Ordering::SeqCst);
                frame.store(0, Ordering::SeqCst);
            }
        }
        state.mapped = 0;
        state.foreign.clear();
    }
}

impl TableFrame for FakeFrame {
    fn entries(&self) -> &[Entry; ENTRIES] {
        &self.page
    }
}

impl Drop for FakeFrame {
    fn drop(&mut self) {
        let mut state = self.xen.state();
        state.mapped = state.mapped.saturating_sub(1);
    }
}

impl ForeignHole for FakeHole {
    fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for FakeHole {
    fn drop(&mut self) {
        self.xen.holes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl GrantHost for Arc<FakeGrants> {
    type Frame = FakeFrame;
    type Hole = FakeHole;

    fn max_frames(&self) -> Result<u32> {
        Ok(self.state().most)
    }

    fn version(&self) -> Result<u32> {
        self.state().version
    }

    fn set_version(&self, version: u32) -> Result {
        let mut state = self.state();
        if state.version_fixed {
            return Err(Status::DEVICE_BUSY);
        }
        state.version = Ok(version);
        Ok(())
    }

    fn map_frame(&self, index: u32) -> Result<FakeFrame> {
        let memory = Contiguous::try_alloc(TAG, 1)?;
        let mut state = self.state();
        assert!(index < state.most, "beyond the limit");
        assert_eq!(index, state.mapped, "frames come in order");
        if state.bad_frame == Some(index) {
            return Err(Status::NO_MEMORY);
        }
        state.mapped += 1;
        let page = FakeGrants::page_of(&mut state, index as usize);
        drop(state);
        Ok(FakeFrame {
            page,
            xen: self.clone(),
            _memory: memory,
        })
    }

    fn restore_frame(&self, _frame: &FakeFrame, index: u32) -> Result {
        let mut state = self.state();
        if state.bad_frame == Some(index) || index >= state.most {
            return Err(Status::INVALID_PARAMETER);
        }
        state.mapped = state.mapped.max(index + 1);
        Ok(())
    }

    fn hole(&self, pages: u32) -> Result<FakeHole> {
        let memory = Contiguous::try_alloc(TAG, pages as usize)?;
        self.holes.fetch_add(1, Ordering::SeqCst);
        let size = (u64::from(pages) + 1) * PAGE;
        Ok(FakeHole {
            address: self.next_address.fetch_add(size, Ordering::SeqCst),
            xen: self.clone(),
            _memory: memory,
        })
    }

    fn map(&self, _domain: u16, reference: u32, address: u64, _read_only: bool) -> Result<u32> {
        let mut state = self.state();
        if let Some((bad, status)) = state.bad_foreign
            && bad == reference
        {
            return Err(status);
        }
        let handle = state.next_handle;
        state.next_handle += 1;
        state.foreign.insert(handle, (address, reference));
        Ok(handle)
    }

    fn unmap(&self, handle: u32, address: u64) -> Result {
        let mut state = self.state();
        if state.stuck {
            return Err(Status::UNSUCCESSFUL);
        }
        match state.foreign.remove(&handle) {
            Some((at, _)) if at == address => Ok(()),
            other => panic!("{handle} at {address:#x} is mapped as {other:?}"),
        }
    }

    fn yield_now(&self) {
        self.yields.fetch_add(1, Ordering::SeqCst);
        let due = {
            let mut state = self.state();
            match state.unmap_after {
                Some((1, reference)) => {
                    state.unmap_after = None;
                    Some(reference)
                }
                Some((left, reference)) => {
                    state.unmap_after = Some((left - 1, reference));
                    None
                }
                None => None,
            }
        };
        if let Some(reference) = due {
            self.peer_unmap(reference);
        }
    }
}
