// SPDX-License-Identifier: BSD-2-Clause
//! The root block of xenbus.sys, found by its signature. `xenbus/src/root.rs` describes it and is the only other place that
//! knows the layout.

use super::memory::{Memory, PAGE, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"XBROOT01";
const VERSION: u32 = 1;
/// Where the addresses begin.
const HEAD: usize = 88;
/// A block has no more addresses than this.
const MOST_ADDRESSES: usize = 64;

/// What the addresses lead to, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    /// Executor of the store's task.
    StoreExecutor,
    /// Passive executor.
    WorkExecutor,
    /// Page with the rings.
    StorePage,
    /// Counters, u64 each.
    StoreCounters,
    /// Their names.
    CounterNames,
    /// Blocks of processors.
    Cpus,
    /// How many processors.
    CpuCount,
}

/// Addresses that this reader knows.
const ADDRESSES: usize = Address::CpuCount as usize + 1;

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// Where it is.
    pub(super) physical: u64,
    /// Number of counters.
    pub(super) counters: u32,
    /// Offsets of the first task, of the block count and of the run count in an executor.
    pub(super) executor: [u32; 3],
    /// Offsets of state, polls, vtable, info (in the vtable) and next in a task.
    pub(super) task: [u32; 5],
    /// Offsets of upcalls, events, deferred in a processor's block, and its size.
    pub(super) cpu: [u32; 4],
    build: [u32; 4],
    addresses: [u64; ADDRESSES],
}

impl Root {
    /// The block in the bytes at physical `at`, if that is what they are.
    fn parse(at: u64, data: &[u8]) -> Option<Self> {
        let words = |from: usize| move |i: usize| u32_at(data, from + i * 4);
        let array = |from| -> Option<[u32; 4]> {
            let word = words(from);
            Some([word(0)?, word(1)?, word(2)?, word(3)?])
        };
        let (size, version, count) = (
            u32_at(data, 8)?,
            u32_at(data, 12)?,
            u32_at(data, 32)? as usize,
        );
        let sound = data.starts_with(MAGIC)
            && version == VERSION
            && (ADDRESSES..=MOST_ADDRESSES).contains(&count)
            && size as usize == HEAD + count * 8;
        if !sound {
            return None;
        }
        let [executor, task] = [array(40)?, array(52)?];
        let mut addresses = [0; ADDRESSES];
        for (i, address) in addresses.iter_mut().enumerate() {
            *address = u64_at(data, HEAD + i * 8)?;
        }
        Some(Self {
            physical: at,
            counters: u32_at(data, 36)?,
            executor: [executor[0], executor[1], executor[2]],
            task: [task[0], task[1], task[2], task[3], u32_at(data, 68)?],
            cpu: array(72)?,
            build: array(16)?,
            addresses,
        })
    }

    /// Version of the image, with the build number.
    pub(super) fn build(&self) -> String {
        self.build.map(|part| part.to_string()).join(".")
    }

    /// One address; 0 when nothing is there.
    pub(super) fn get(&self, what: Address) -> u64 {
        self.addresses[what as usize]
    }

    /// Whether the bus is up: everything is published at once.
    pub(super) fn is_published(&self) -> bool {
        self.addresses.iter().all(|&address| address != 0)
    }

    /// The addresses that tables must translate.
    pub(super) fn pointers(&self) -> &[u64] {
        &self.addresses[..Address::CpuCount as usize]
    }
}

/// Every block in memory, in the order of its address.
pub(super) fn find(memory: &Memory) -> Vec<Root> {
    let mut found = Vec::new();
    for (address, page) in memory.pages() {
        // A static is aligned, and so is it in the file that the image was loaded from.
        for (index, word) in page.chunks_exact(8).enumerate() {
            if word != MAGIC {
                continue;
            }
            let at = address + index as u64 * 8;
            // It may go over the page's end: pages of an image are not always neighbours, but a wrong guess fails below.
            let mut data = vec![
                0;
                (HEAD + MOST_ADDRESSES * 8)
                    .min((memory.len() - at) as usize)
                    .min(PAGE)
            ];
            if memory.read(at, &mut data).is_some() {
                found.extend(Root::parse(at, &data));
            }
        }
    }
    found
}
