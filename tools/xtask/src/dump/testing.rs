// SPDX-License-Identifier: BSD-2-Clause
//! A small memory image made by hand: page tables, a root block, two executors with a task each.

use super::memory::{Memory, PAGE, u64_at};

/// Where things are, physically.
pub(super) const PML4: u64 = 0x8000;
pub(super) const ROOT: u64 = 0xd018;
const PDPT: u64 = 0x9000;
const DIRECTORY: u64 = 0xa000;
const TABLE: u64 = 0xb000;
const STORE_PAGE: u64 = 0xe000;
const DATA: u64 = 0xf000;
const END: u64 = 0x10000;
/// Virtual address of physical 0.
const BASE: u64 = 0xffff_f800_0020_0000;

/// The store's executor, physically.
pub(super) const CORE: u64 = DATA;
const WORK: u64 = DATA + 0x80;
const TASKS: [u64; 2] = [DATA + 0x100, DATA + 0x180];
const VTABLES: [u64; 2] = [DATA + 0x200, DATA + 0x280];
const SITES: [u64; 2] = [DATA + 0x300, DATA + 0x380];
const NAMES: u64 = DATA + 0x400;
const COUNTERS: u64 = DATA + 0x500;
const CPUS: u64 = DATA + 0x600;
const COUNTER_NAMES: u64 = DATA + 0x700;

/// Offsets that the block gives.
pub(super) mod store {
    pub(in super::super) const FIRST_TASK: u64 = 56;
    pub(in super::super) const NEXT: u64 = 40;
}

/// The image.
pub(super) struct Builder(Vec<u8>);

impl Builder {
    /// A sound one.
    pub(super) fn new() -> Self {
        let mut image = Self(vec![0; END as usize]);
        image.tables(PML4, PDPT);
        image.set(PDPT, DIRECTORY | 3);
        image.set(DIRECTORY + 8, TABLE | 3);
        for page in 0..END / PAGE as u64 {
            image.set(TABLE + page * 8, (page * PAGE as u64) | 3);
        }
        image.root(ROOT);
        image.executor(0, CORE, "store", "src/store.rs", 42, 0x200 | 8, 17);
        image.executor(1, WORK, "enumerate", "src/enumerate.rs", 7, 0x100 | 1, 1);
        // req_cons, req_prod, rsp_cons, rsp_prod; the requests wrap.
        for (i, word) in [0xffff_fff8_u32, 8, 100, 124].into_iter().enumerate() {
            image.bytes(STORE_PAGE + 2048 + i as u64 * 4, &word.to_le_bytes());
        }
        image.bytes(COUNTER_NAMES, b"requests\0replies\0");
        image.set(COUNTERS, 3);
        image.set(COUNTERS + 8, 2);
        image.set(CPUS + 8, 100);
        image
    }

    fn tables(&mut self, top: u64, next: u64) {
        self.set(top + ((BASE >> 39) & 511) * 8, next | 3);
    }

    fn root(&mut self, at: u64) {
        let words: [u32; 20] = [
            88 + 7 * 8, // size
            1,          // version
            10,
            0,
            0,
            7, // build
            7, // addresses
            2, // counters
            store::FIRST_TASK as u32,
            8,
            16, // executor
            0,
            4,
            16,
            8,
            store::NEXT as u32, // task
            8,
            16,
            24,
            32, // processor
        ];
        self.bytes(at, b"XBROOT01");
        for (i, word) in words.into_iter().enumerate() {
            self.bytes(at + 8 + i as u64 * 4, &word.to_le_bytes());
        }
        for (i, to) in [CORE, WORK, STORE_PAGE, COUNTERS, COUNTER_NAMES, CPUS]
            .into_iter()
            .enumerate()
        {
            self.set(at + 88 + i as u64 * 8, BASE + to);
        }
        self.set(at + 88 + 6 * 8, 2);
    }

    #[expect(clippy::too_many_arguments, reason = "one call per task")]
    fn executor(
        &mut self,
        n: usize,
        core: u64,
        name: &str,
        file: &str,
        line: u32,
        state: u32,
        polls: u32,
    ) {
        self.set(core + store::FIRST_TASK, BASE + TASKS[n]);
        self.set(core + 8, 1);
        self.set(core + 16, 5);
        self.bytes(TASKS[n], &state.to_le_bytes());
        self.bytes(TASKS[n] + 4, &polls.to_le_bytes());
        self.set(TASKS[n] + 16, BASE + VTABLES[n]);
        self.set(VTABLES[n] + 8, BASE + SITES[n]);
        let text = NAMES + n as u64 * 64;
        self.bytes(text, name.as_bytes());
        self.bytes(text + 32, file.as_bytes());
        self.bytes(SITES[n], b"KXTASK01");
        self.set(SITES[n] + 16, BASE + text);
        self.set(SITES[n] + 24, name.len() as u64);
        self.set(SITES[n] + 32, BASE + text + 32);
        self.set(SITES[n] + 40, file.len() as u64);
        self.bytes(SITES[n] + 48, &line.to_le_bytes());
    }

    /// Another block at `at`, all of whose addresses are `address`.
    pub(super) fn copy_root(&mut self, at: u64, address: u64) {
        self.root(at);
        for i in 0..7 {
            self.set(at + 88 + i * 8, address);
        }
    }

    /// A top level at `at` through which everything is the page of zeros at 0.
    pub(super) fn decoy_tables(&mut self, at: u64) {
        let [pdpt, directory, table] = [at + 0x1000, at + 0x2000, at + 0x3000];
        self.tables(at, pdpt);
        self.set(pdpt, directory | 3);
        self.set(directory + 8, table | 3);
        for page in 0..END / PAGE as u64 {
            self.set(table + page * 8, 3);
        }
    }

    /// Maps the store's page elsewhere.
    pub(super) fn move_store_page(&mut self, to: u64) {
        self.set(TABLE + STORE_PAGE / PAGE as u64 * 8, to | 3);
    }

    /// The physical address of a virtual one.
    pub(super) fn physical(&self, address: u64) -> u64 {
        address - BASE
    }

    /// The word at `at`.
    pub(super) fn word(&self, at: u64) -> u64 {
        u64_at(&self.0, at as usize).expect("in the image")
    }

    /// Writes a word.
    pub(super) fn set(&mut self, at: u64, word: u64) {
        self.bytes(at, &word.to_le_bytes());
    }

    /// Writes bytes.
    pub(super) fn bytes(&mut self, at: u64, data: &[u8]) {
        self.0[at as usize..at as usize + data.len()].copy_from_slice(data);
    }

    /// The image as memory.
    pub(super) fn memory(&self) -> Memory {
        Memory::from_bytes(&self.0).expect("a whole number of pages")
    }
}
