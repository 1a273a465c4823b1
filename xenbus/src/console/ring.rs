// SPDX-License-Identifier: BSD-2-Clause
//! The console page: 1024 bytes to the guest, 2048 from it, four free-running indices (xen/interface/io/console.h).
//!
//! ```text
//!  0        1024        3072                               3088
//!  | in[]   | out[]     | in_cons in_prod out_cons out_prod
//!    -> we    we ->       we      daemon  daemon   we
//! ```
//! Our own index of each ring is private, so that nobody can make us read or write where we should not; the peer's index is loaded
//! once, checked, then used. Any IRQL.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

/// Bytes of the ring to the guest.
pub const IN_LEN: usize = 1024;
/// Bytes of the ring from the guest.
pub const OUT_LEN: usize = 2048;
/// Bytes of both.
pub const DATA_LEN: usize = IN_LEN + OUT_LEN;
/// Indices after the rings.
pub const CONTROL_WORDS: usize = 4;

const IN_CONS: usize = 0;
const IN_PROD: usize = 1;
const OUT_CONS: usize = 2;
const OUT_PROD: usize = 3;

/// The page as atomics: bytes are only touched as bytes, indices only as words.
pub trait ConsolePage: Send + Sync {
    /// Both rings.
    fn data(&self) -> &[AtomicU8; DATA_LEN];
    /// The indices.
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS];
}

/// The daemon's index makes no sense: its value and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The daemon's.
    pub peer: u32,
    /// Ours.
    pub own: u32,
}

/// Our half of both rings.
#[derive(Debug)]
pub struct Ring {
    in_cons: u32,
    out_prod: u32,
}

impl Ring {
    /// Takes over the rings where they stand.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn attach(page: &impl ConsolePage) -> Result<Self, Fault> {
        let word = |index: usize| page.control()[index].load(Ordering::Acquire);
        let ring = Self {
            in_cons: word(IN_CONS),
            out_prod: word(OUT_PROD),
        };
        ring.waiting(page)?;
        ring.room(page)?;
        Ok(ring)
    }

    /// Bytes that can be read.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn waiting(&self, page: &impl ConsolePage) -> Result<usize, Fault> {
        let peer = page.control()[IN_PROD].load(Ordering::Acquire);
        used(peer, self.in_cons, IN_LEN).ok_or(Fault {
            peer,
            own: self.in_cons,
        })
    }

    /// Bytes that can be written.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn room(&self, page: &impl ConsolePage) -> Result<usize, Fault> {
        let peer = page.control()[OUT_CONS].load(Ordering::Acquire);
        used(self.out_prod, peer, OUT_LEN)
            .map(|used| OUT_LEN - used)
            .ok_or(Fault {
                peer,
                own: self.out_prod,
            })
    }

    /// Moves bytes out of the page; how many.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(&mut self, page: &impl ConsolePage, to: &mut [u8]) -> Result<usize, Fault> {
        let count = self.waiting(page)?.min(to.len());
        for (offset, byte) in (0..).zip(&mut to[..count]) {
            let index = self.in_cons.wrapping_add(offset) as usize % IN_LEN;
            *byte = page.data()[index].load(Ordering::Relaxed);
        }
        // The daemon may overwrite the bytes once it sees this.
        fence(Ordering::SeqCst);
        self.in_cons = self.in_cons.wrapping_add(small(count));
        page.control()[IN_CONS].store(self.in_cons, Ordering::Release);
        Ok(count)
    }

    /// Moves bytes into the page; how many.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn write(&mut self, page: &impl ConsolePage, from: &[u8]) -> Result<usize, Fault> {
        let count = self.room(page)?.min(from.len());
        // Data stores may not pass the load of the consumer's index.
        fence(Ordering::SeqCst);
        for (offset, byte) in (0..).zip(&from[..count]) {
            let index = self.out_prod.wrapping_add(offset) as usize % OUT_LEN;
            page.data()[IN_LEN + index].store(*byte, Ordering::Relaxed);
        }
        self.out_prod = self.out_prod.wrapping_add(small(count));
        page.control()[OUT_PROD].store(self.out_prod, Ordering::Release);
        Ok(count)
    }
}

fn used(prod: u32, cons: u32, len: usize) -> Option<usize> {
    let used = prod.wrapping_sub(cons) as usize;
    (used <= len).then_some(used)
}

fn small(count: usize) -> u32 {
    // At most OUT_LEN.
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::console::TestConsole;
    use proptest::prelude::*;

    #[test]
    fn bytes_come_out_as_they_went_in_across_the_wrap_of_index_and_ring() {
        let page = TestConsole::starting_at(u32::MAX - 3, u32::MAX - 5);
        let mut ring = Ring::attach(&page).expect("sane");
        assert_eq!(ring.room(&page), Ok(OUT_LEN));
        assert_eq!(ring.write(&page, b"hello, dom0"), Ok(11));
        assert_eq!(page.take(100), b"hello, dom0");
        page.put(b"hello, guest");
        let mut data = [0; 64];
        assert_eq!(ring.read(&page, &mut data), Ok(12));
        assert_eq!(&data[..12], b"hello, guest");
        assert_eq!(ring.read(&page, &mut data), Ok(0));
    }

    #[test]
    fn a_full_ring_takes_what_fits_and_an_index_too_far_is_a_fault() {
        let page = TestConsole::starting_at(0, 0);
        let mut ring = Ring::attach(&page).expect("sane");
        assert_eq!(ring.write(&page, &[7; 3000]), Ok(OUT_LEN));
        assert_eq!(ring.write(&page, &[7; 1]), Ok(0));
        page.set(OUT_CONS, 1);
        assert_eq!(ring.write(&page, &[7; 9]), Ok(1));
        for lie in [OUT_LEN as u32 + 2, u32::MAX] {
            page.set(OUT_CONS, lie);
            let fault = Fault {
                peer: lie,
                own: OUT_LEN as u32 + 1,
            };
            assert_eq!(ring.write(&page, b"x"), Err(fault));
        }
        page.set(IN_PROD, IN_LEN as u32 + 1);
        let mut byte = [0];
        assert!(ring.read(&page, &mut byte).is_err());
        assert!(Ring::attach(&page).is_err());
    }

    proptest! {
        #[test]
        fn both_rings_are_queues_of_bytes(
            start in any::<[u32; 2]>(),
            steps in proptest::collection::vec((0..4u8, 0..2500usize), 1..60),
        ) {
            let page = TestConsole::starting_at(start[0], start[1]);
            let mut ring = Ring::attach(&page).expect("sane");
            let mut to_daemon = std::collections::VecDeque::<u8>::new();
            let mut to_guest = std::collections::VecDeque::<u8>::new();
            let mut next = 0u8;
            for (what, len) in steps {
                let mut fresh = || { next = next.wrapping_add(1); next };
                match what {
                    0 => {
                        let data: std::vec::Vec<u8> = (0..len).map(|_| fresh()).collect();
                        let moved = ring.write(&page, &data).expect("sane");
                        prop_assert_eq!(moved, len.min(OUT_LEN - to_daemon.len()));
                        to_daemon.extend(&data[..moved]);
                    }
                    1 => {
                        let taken = page.take(len);
                        prop_assert_eq!(taken.len(), len.min(to_daemon.len()));
                        prop_assert!(to_daemon.drain(..taken.len()).eq(taken));
                    }
                    2 => {
                        let data: std::vec::Vec<u8> =
                            (0..len.min(IN_LEN - to_guest.len())).map(|_| fresh()).collect();
                        page.put(&data);
                        to_guest.extend(data);
                    }
                    _ => {
                        let mut data = std::vec![0; len];
                        let moved = ring.read(&page, &mut data).expect("sane");
                        prop_assert_eq!(moved, len.min(to_guest.len()));
                        prop_assert!(to_guest.drain(..moved).eq(data[..moved].iter().copied()));
                    }
                }
            }
        }
    }
}
