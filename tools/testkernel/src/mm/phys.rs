// SPDX-License-Identifier: BSD-2-Clause
//! Physical pages: a bitmap over RAM. Works at any IRQL.

use alloc::vec::Vec;

use super::PAGE;
use crate::sync::Lock;

/// A range of physical memory.
#[cfg(target_os = "none")]
pub(crate) use crate::arch::Range;

/// A range of physical memory.
#[cfg(not(target_os = "none"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

/// Which page numbers are free.
#[derive(Debug, Default)]
struct Bitmap {
    words: Vec<u64>,
    free: usize,
    hint: usize,
}

/// Limits of a contiguous allocation, in page numbers.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lowest page.
    pub low: u64,
    /// First page that is too high.
    pub high: u64,
    /// Alignment in pages.
    pub align: u64,
}

impl Bounds {
    /// Any page.
    pub const ANY: Self = Self {
        low: 0,
        high: u64::MAX,
        align: 1,
    };
}

impl Bitmap {
    const fn new() -> Self {
        Self {
            words: Vec::new(),
            free: 0,
            hint: 0,
        }
    }

    fn is_free(&self, page: usize) -> bool {
        self.words
            .get(page / 64)
            .is_some_and(|w| w >> (page % 64) & 1 != 0)
    }

    fn set(&mut self, page: usize, free: bool) {
        if self.is_free(page) == free {
            return;
        }
        let bit = 1 << (page % 64);
        if free {
            self.words[page / 64] |= bit;
            self.free += 1;
        } else {
            self.words[page / 64] &= !bit;
            self.free -= 1;
        }
    }

    #[cfg(any(target_os = "none", test))]
    fn add(&mut self, ram: &[Range], reserved: &[Range]) {
        let end = ram
            .iter()
            .map(|r| (r.base + r.len) as usize / PAGE)
            .max()
            .unwrap_or(0);
        self.words.resize(end.div_ceil(64), 0);
        for r in ram {
            for page in (r.base as usize).div_ceil(PAGE)..(r.base + r.len) as usize / PAGE {
                self.set(page, true);
            }
        }
        for r in reserved {
            for page in r.base as usize / PAGE..((r.base + r.len) as usize).div_ceil(PAGE).min(end)
            {
                self.set(page, false);
            }
        }
    }

    fn take_one(&mut self) -> Option<usize> {
        let len = self.words.len();
        let at = (self.hint..len)
            .chain(0..self.hint)
            .find(|i| self.words[*i] != 0)?;
        self.hint = at;
        let page = at * 64 + self.words[at].trailing_zeros() as usize;
        self.set(page, false);
        Some(page)
    }

    /// Contiguous pages are taken from the top, away from single ones.
    fn take_run(&mut self, count: usize, bounds: Bounds) -> Option<usize> {
        let end = (self.words.len() * 64).min(usize::try_from(bounds.high).unwrap_or(usize::MAX));
        let align = bounds.align.max(1) as usize;
        let mut start = end.checked_sub(count)? / align * align;
        loop {
            if start < bounds.low as usize {
                return None;
            }
            match (start..start + count).rev().find(|p| !self.is_free(*p)) {
                None => {
                    for page in start..start + count {
                        self.set(page, false);
                    }
                    return Some(start);
                }
                Some(taken) => start = taken.checked_sub(count)? / align * align,
            }
        }
    }
}

static PAGES: Lock<Bitmap> = Lock::new(Bitmap::new());
static UNUSED: Lock<u64> = Lock::new(0);

/// Learns where RAM is; `reserved` is never handed out.
#[cfg(target_os = "none")]
pub(crate) fn init(ram: &[Range], reserved: &[Range]) {
    PAGES.lock().add(ram, reserved);
    let top = ram.iter().map(|r| r.base + r.len).max().unwrap_or(0);
    // Below the local APIC and above RAM; Xen keeps its own pages at 0xFC000000 and up.
    *UNUSED.lock() = top.max(0xc000_0000).next_multiple_of(0x100_0000);
}

/// Number of free pages.
pub fn free_pages() -> usize {
    PAGES.lock().free
}

/// Takes a page; its contents are undefined.
pub fn allocate() -> Option<u64> {
    PAGES.lock().take_one().map(|p| (p * PAGE) as u64)
}

/// Takes a page of zeros.
#[cfg(target_os = "none")]
pub fn allocate_zeroed() -> Option<u64> {
    let page = allocate()?;
    crate::mem::Ptr(crate::arch::DIRECT_MAP + page as usize).fill(0, PAGE);
    Some(page)
}

/// Takes `count` adjacent pages.
pub fn allocate_run(count: usize, bounds: Bounds) -> Option<u64> {
    PAGES
        .lock()
        .take_run(count, bounds)
        .map(|p| (p * PAGE) as u64)
}

/// Gives `count` pages from `address` on back.
pub fn free(address: u64, count: usize) {
    let mut pages = PAGES.lock();
    for page in 0..count {
        pages.set(address as usize / PAGE + page, true);
    }
}

/// A physical range of `len` bytes (a power of two, naturally aligned) that holds neither RAM nor a device:
/// for the BAR of a fake PCI function. Each call returns another range.
pub fn unused_physical_range(len: u64) -> u64 {
    let mut next = UNUSED.lock();
    let base = next.next_multiple_of(len);
    *next = base + len;
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap() -> Bitmap {
        let mut b = Bitmap::new();
        b.add(
            &[
                Range {
                    base: 0,
                    len: 0x9f000,
                },
                Range {
                    base: 0x10_0000,
                    len: 0x10_0000,
                },
            ],
            &[
                Range {
                    base: 0,
                    len: 0x1000,
                },
                Range {
                    base: 0x10_0800,
                    len: 0x1000,
                },
            ],
        );
        b
    }

    #[test]
    fn only_ram_that_is_not_reserved_is_free() {
        let b = bitmap();
        assert_eq!(b.free, 0x9f - 1 + 0x100 - 2);
        assert!(
            !b.is_free(0)
                && b.is_free(1)
                && !b.is_free(0x9f)
                && !b.is_free(0x101)
                && b.is_free(0x102)
        );
    }

    #[test]
    fn a_run_is_aligned_adjacent_and_within_bounds() {
        let mut b = bitmap();
        let run = b.take_run(
            16,
            Bounds {
                low: 0,
                high: 0x90,
                align: 16,
            },
        );
        assert_eq!(run, Some(0x80));
        assert_eq!(
            b.take_run(
                16,
                Bounds {
                    low: 0x80,
                    high: 0x90,
                    align: 16
                }
            ),
            None
        );
        assert_eq!(b.take_run(0x200, Bounds::ANY), None);
    }

    #[test]
    fn every_page_is_handed_out_once() {
        let mut b = bitmap();
        let mut seen = alloc::collections::BTreeSet::new();
        while let Some(page) = b.take_one() {
            assert!(seen.insert(page));
        }
        assert_eq!(seen.len(), 0x9f - 1 + 0x100 - 2);
        assert_eq!(b.free, 0);
    }
}
