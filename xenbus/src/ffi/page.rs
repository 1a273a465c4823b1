// SPDX-License-Identifier: BSD-2-Clause
//! A page that the toolstack gave for a ring: bytes, and behind them words.

use core::sync::atomic::{AtomicU8, AtomicU32};

use kexec::Result;
use kexec::nt::{Cache, IoMapping};

use crate::console::ring as console;
use crate::store::ring as store;

const PAGE: usize = 4096;
const PAGE_SHIFT: u32 = 12;

/// The mapped page.
pub(super) struct Page(IoMapping);

impl Page {
    /// Maps the page of a frame.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`.
    pub(super) fn map(frame: u64) -> Result<Self> {
        IoMapping::map(frame << PAGE_SHIFT, PAGE, Cache::Cached).map(Self)
    }

    fn bytes<const N: usize>(&self) -> &[AtomicU8; N] {
        let bytes = self.0.shared().atomics_u8().first_chunk();
        bytes.unwrap_or_else(|| unreachable!("the page is mapped whole"))
    }

    /// Words behind `at` bytes.
    fn words<const N: usize>(&self, at: usize) -> &[AtomicU32; N] {
        let words = self.0.shared().atomics_u32()[at / 4..].first_chunk();
        words.unwrap_or_else(|| unreachable!("the page is mapped whole"))
    }
}

impl store::RingPage for Page {
    fn data(&self) -> &[AtomicU8; store::DATA_LEN] {
        self.bytes()
    }

    fn control(&self) -> &[AtomicU32; store::CONTROL_WORDS] {
        self.words(store::DATA_LEN)
    }
}

impl console::ConsolePage for Page {
    fn data(&self) -> &[AtomicU8; console::DATA_LEN] {
        self.bytes()
    }

    fn control(&self) -> &[AtomicU32; console::CONTROL_WORDS] {
        self.words(console::DATA_LEN)
    }
}
