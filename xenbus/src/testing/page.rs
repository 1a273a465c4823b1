// SPDX-License-Identifier: BSD-2-Clause
//! A shared page in host memory, and the daemon's half of its rings.

use core::array::from_fn;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::vec::Vec;

use crate::store::ring::{CONTROL_WORDS, DATA_LEN, RingPage};

/// One page; the daemon's half is reached through [`DaemonSide`].
pub struct TestPage {
    data: [AtomicU8; DATA_LEN],
    control: [AtomicU32; CONTROL_WORDS],
}

impl TestPage {
    /// A page whose request and response indices start at these values; stale bytes are 0xFF.
    #[must_use]
    pub fn starting_at(req: u32, rsp: u32) -> Self {
        let page = Self {
            data: from_fn(|_| AtomicU8::new(0xFF)),
            control: from_fn(|_| AtomicU32::new(0)),
        };
        page.reset(req, rsp);
        page
    }

    /// Empties both rings and puts their indices at these values.
    pub fn reset(&self, req: u32, rsp: u32) {
        for (word, value) in self.control.iter().zip([req, req, rsp, rsp]) {
            word.store(value, Ordering::SeqCst);
        }
    }

    /// Overwrites a control word, as a lying daemon would.
    pub fn set(&self, word: usize, value: u32) {
        self.control[word].store(value, Ordering::SeqCst);
    }
}

impl RingPage for TestPage {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        &self.data
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        &self.control
    }
}

/// The daemon's half: it consumes requests and produces responses.
pub struct DaemonSide<'a, P: RingPage>(pub &'a P);

impl<P: RingPage> DaemonSide<'_, P> {
    fn word(&self, i: usize) -> u32 {
        self.0.control()[i].load(Ordering::SeqCst)
    }

    /// Bytes that requesters have published and we have not taken.
    #[must_use]
    pub fn requests_waiting(&self) -> usize {
        self.word(1).wrapping_sub(self.word(0)) as usize
    }

    /// Takes up to `max` request bytes.
    #[must_use]
    pub fn take_requests(&self, max: usize) -> Vec<u8> {
        let cons = self.word(0);
        let len = self.requests_waiting().min(max).min(1024);
        let bytes = (0..len)
            .map(|i| {
                let slot = cons.wrapping_add(i as u32) % 1024;
                self.0.data()[slot as usize].load(Ordering::SeqCst)
            })
            .collect();
        self.0.control()[0].store(cons.wrapping_add(len as u32), Ordering::SeqCst);
        bytes
    }

    /// Free bytes in the response ring.
    #[must_use]
    pub fn response_room(&self) -> usize {
        1024usize.saturating_sub(self.word(3).wrapping_sub(self.word(2)) as usize)
    }

    /// Puts bytes into the response ring; they must fit.
    pub fn put_responses(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.response_room(), "test overran the ring");
        let prod = self.word(3);
        for (i, byte) in bytes.iter().enumerate() {
            let slot = 1024 + prod.wrapping_add(i as u32) % 1024;
            self.0.data()[slot as usize].store(*byte, Ordering::SeqCst);
        }
        self.0.control()[3].store(prod.wrapping_add(bytes.len() as u32), Ordering::SeqCst);
    }
}
