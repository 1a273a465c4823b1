// SPDX-License-Identifier: BSD-2-Clause
//! A console page in host memory, and the daemon's half of its rings.

use core::array::from_fn;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::vec::Vec;

use crate::console::ring::{CONTROL_WORDS, ConsolePage, DATA_LEN, IN_LEN, OUT_LEN};

/// One page.
pub struct TestConsole {
    data: [AtomicU8; DATA_LEN],
    control: [AtomicU32; CONTROL_WORDS],
}

impl TestConsole {
    /// Empty rings whose indices start at these values.
    #[must_use]
    pub fn starting_at(input: u32, output: u32) -> Self {
        Self {
            data: from_fn(|_| AtomicU8::new(0xFF)),
            control: [input, input, output, output].map(AtomicU32::new),
        }
    }

    /// Overwrites an index, as a lying daemon would.
    pub fn set(&self, word: usize, value: u32) {
        self.control[word].store(value, Ordering::SeqCst);
    }

    /// An index.
    #[must_use]
    pub fn get(&self, word: usize) -> u32 {
        self.control[word].load(Ordering::SeqCst)
    }

    /// The daemon takes up to `max` bytes that the guest wrote.
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<u8> {
        let cons = self.get(2);
        let len = max.min(self.get(3).wrapping_sub(cons) as usize);
        let byte = |offset| {
            let index = cons.wrapping_add(offset as u32) as usize % OUT_LEN;
            self.data[IN_LEN + index].load(Ordering::SeqCst)
        };
        let bytes = (0..len).map(byte).collect();
        self.set(2, cons.wrapping_add(len as u32));
        bytes
    }

    /// The daemon writes bytes to the guest; they must fit.
    pub fn put(&self, bytes: &[u8]) {
        let prod = self.get(1);
        assert!(bytes.len() <= IN_LEN - prod.wrapping_sub(self.get(0)) as usize);
        for (offset, byte) in bytes.iter().enumerate() {
            let index = prod.wrapping_add(offset as u32) as usize % IN_LEN;
            self.data[index].store(*byte, Ordering::SeqCst);
        }
        self.set(1, prod.wrapping_add(bytes.len() as u32));
    }
}

impl ConsolePage for std::sync::Arc<TestConsole> {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        &self.data
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        &self.control
    }
}

impl ConsolePage for TestConsole {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        &self.data
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        &self.control
    }
}
