// SPDX-License-Identifier: BSD-2-Clause
//! The 2-level ABI: 64 words of 64 ports in the shared info page, one selector word per vCPU.
//!
//! Pending words belong to all vCPUs: a poll may see ports bound elsewhere, which the visitor leaves
//! alone. Every update is a locked operation; words are read once per visit. Any IRQL; the poll of one
//! processor never runs twice at a time.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::host::{SharedInfo, VcpuInfo};

/// Ports of this ABI.
pub const PORTS: u32 = 4096;

/// What a processor's poll remembers.
#[derive(Debug, Default)]
pub struct PollState {
    /// Words that the last poll did not get to.
    left: AtomicU64,
    /// The word visited last: the next poll starts behind it.
    last: AtomicU32,
}

impl PollState {
    /// Forgets what is left: the ports are those of another domain.
    pub fn renew(&self) {
        self.left.store(0, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
    }
}

fn place(port: u32) -> (usize, u64) {
    ((port as usize / 64) % 64, 1 << (port % 64))
}

/// Masks every port.
pub fn mask_all(info: &SharedInfo) {
    for word in &info.mask {
        word.store(u64::MAX, Ordering::SeqCst);
    }
}

/// Masks a port.
pub fn mask(info: &SharedInfo, port: u32) {
    let (word, bit) = place(port);
    info.mask[word].fetch_or(bit, Ordering::SeqCst);
}

/// Whether a port is masked.
pub fn is_masked(info: &SharedInfo, port: u32) -> bool {
    let (word, bit) = place(port);
    info.mask[word].load(Ordering::Acquire) & bit != 0
}

/// Unmasks a port; true when an event was pending, which nobody will raise again by itself.
pub fn unmask(info: &SharedInfo, port: u32) -> bool {
    let (word, bit) = place(port);
    info.mask[word].fetch_and(!bit, Ordering::SeqCst);
    info.pending[word].load(Ordering::SeqCst) & bit != 0
}

/// Takes the pending bit of a port.
pub fn ack(info: &SharedInfo, port: u32) {
    let (word, bit) = place(port);
    info.pending[word].fetch_and(!bit, Ordering::SeqCst);
}

/// Visits pending ports until there are none or `budget` is used up; true: there may be more.
pub fn poll(
    info: &SharedInfo,
    vcpu: &VcpuInfo,
    state: &PollState,
    budget: &mut usize,
    mut visit: impl FnMut(u32),
) -> bool {
    let mut selected = vcpu.pending_sel.swap(0, Ordering::SeqCst);
    selected |= state.left.swap(0, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    let first = state.last.load(Ordering::Relaxed) + 1;
    for step in 0..64 {
        let word = (first + step) % 64;
        if selected & (1 << word) == 0 {
            continue;
        }
        let index = word as usize;
        let mut bits =
            info.pending[index].load(Ordering::Acquire) & !info.mask[index].load(Ordering::Acquire);
        while bits != 0 {
            if *budget == 0 {
                state.left.fetch_or(selected, Ordering::Relaxed);
                return true;
            }
            *budget -= 1;
            visit(word * 64 + bits.trailing_zeros());
            bits &= bits - 1;
        }
        selected &= !(1 << word);
        state.last.store(word, Ordering::Relaxed);
    }
    false
}
