// SPDX-License-Identifier: BSD-2-Clause
//! The shared page: two byte rings of 1024 bytes and six control words.
//!
//! Each half belongs to the one task that owns the connection. Our own index is private and only
//! ever stored to the page; the peer's index is loaded once per step, checked, then used. A fault is
//! a value: the owner decides what it means for the connection. Any IRQL; nothing to stop.
//!
//! ```text
//!  0        1024       2048                                    2076
//!  | req[]  | rsp[]    | req_cons req_prod rsp_cons rsp_prod features connection error
//!    we ->    -> we      daemon   we       we       daemon   daemon   both       daemon
//! ```

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

/// Bytes in each ring.
pub const RING_LEN: usize = 1024;
/// Bytes of both rings, which start the page.
pub const DATA_LEN: usize = 2 * RING_LEN;
/// Control words after the rings.
pub const CONTROL_WORDS: usize = 7;

const RING_LEN_U32: u32 = 1024;
const REQ_CONS: usize = 0;
const REQ_PROD: usize = 1;
const RSP_CONS: usize = 2;
const RSP_PROD: usize = 3;
const FEATURES: usize = 4;
const CONNECTION: usize = 5;
const ERROR: usize = 6;

/// Feature bit: the daemon can rebuild the connection on request.
pub const FEATURE_RECONNECT: u32 = 1;

/// The shared page as atomics, so that no reference to changing memory is ever formed.
///
/// The rings are only touched as bytes and the control words only as words, so accesses of
/// different sizes never overlap.
pub trait RingPage: Send + Sync {
    /// The request ring, then the response ring.
    fn data(&self) -> &[AtomicU8; DATA_LEN];
    /// The words at offset 2048.
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS];
}

impl<T: RingPage + ?Sized> RingPage for &T {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        (**self).data()
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        (**self).control()
    }
}

/// The peer broke the ring protocol; the connection is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `req_prod - req_cons` exceeds the ring.
    RequestIndex {
        /// Our producer index.
        prod: u32,
        /// What the daemon says it has consumed.
        cons: u32,
    },
    /// `rsp_prod - rsp_cons` exceeds the ring.
    ResponseIndex {
        /// What the daemon says it has produced.
        prod: u32,
        /// Our consumer index.
        cons: u32,
    },
    /// A header announces more than 4096 bytes.
    PayloadTooLong {
        /// The announced length.
        len: u32,
    },
}

/// A snapshot of the control words for a log line or a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `req_cons`.
    pub req_cons: u32,
    /// `req_prod`.
    pub req_prod: u32,
    /// `rsp_cons`.
    pub rsp_cons: u32,
    /// `rsp_prod`.
    pub rsp_prod: u32,
    /// `server_features`.
    pub features: u32,
    /// `connection`.
    pub connection: u32,
    /// `error`.
    pub error: u32,
}

impl Control {
    /// One load of each word.
    pub fn load(page: &impl RingPage) -> Self {
        let word = |i: usize| page.control()[i].load(Ordering::Acquire);
        Self {
            req_cons: word(REQ_CONS),
            req_prod: word(REQ_PROD),
            rsp_cons: word(RSP_CONS),
            rsp_prod: word(RSP_PROD),
            features: word(FEATURES),
            connection: word(CONNECTION),
            error: word(ERROR),
        }
    }
}

/// Asks the daemon to rebuild the connection; the caller notifies it afterwards.
pub fn request_reconnect(page: &impl RingPage) {
    page.control()[CONNECTION].store(1, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// Whether the daemon has not (yet) finished a requested reconnect.
pub fn reconnecting(page: &impl RingPage) -> bool {
    page.control()[CONNECTION].load(Ordering::Acquire) != 0
}

/// Whether the toolstack has introduced the domain anew: that zeroes all indices, among them the two
/// that are ours and last stood at `prod` and `cons`. What else the page says of them is ignored.
pub fn introduced(page: &impl RingPage, prod: u32, cons: u32) -> bool {
    let zero = |i: usize| page.control()[i].load(Ordering::Acquire) == 0;
    (prod != 0 || cons != 0)
        && [REQ_PROD, RSP_CONS, REQ_CONS, RSP_PROD]
            .into_iter()
            .all(zero)
}

/// Up to two contiguous pieces of a ring, from `index` for `len` bytes.
fn pieces(base: usize, index: u32, len: usize) -> [core::ops::Range<usize>; 2] {
    let slot = (index % RING_LEN_U32) as usize;
    let first = len.min(RING_LEN - slot);
    [base + slot..base + slot + first, base..base + (len - first)]
}

/// Our half of the request ring.
#[derive(Debug)]
pub struct Producer {
    /// Private truth of `req_prod`, bytes of the open batch included.
    prod: u32,
    /// `req_prod` as last published.
    published: u32,
}

impl Producer {
    /// Takes over the ring where it stands.
    ///
    /// # Errors
    /// [`Fault::RequestIndex`] when the indices make no sense.
    pub fn attach(page: &impl RingPage) -> Result<Self, Fault> {
        let prod = page.control()[REQ_PROD].load(Ordering::Acquire);
        let half = Self {
            prod,
            published: prod,
        };
        half.free(page).map(|_| half)
    }

    fn free(&self, page: &impl RingPage) -> Result<usize, Fault> {
        let cons = page.control()[REQ_CONS].load(Ordering::Acquire);
        let used = self.prod.wrapping_sub(cons);
        if used > RING_LEN_U32 {
            return Err(Fault::RequestIndex {
                prod: self.prod,
                cons,
            });
        }
        Ok((RING_LEN_U32 - used) as usize)
    }

    /// `req_prod` as last published.
    #[must_use]
    pub fn published(&self) -> u32 {
        self.published
    }

    /// Copies as much of `src` as fits into the open batch; returns how much.
    ///
    /// # Errors
    /// [`Fault::RequestIndex`].
    pub fn push(&mut self, page: &impl RingPage, src: &[u8]) -> Result<usize, Fault> {
        let len = self.free(page)?.min(src.len());
        // Data stores may not pass the load of the consumer's index.
        fence(Ordering::SeqCst);
        let data = page.data();
        let mut from = src.iter();
        for piece in pieces(0, self.prod, len) {
            for (slot, byte) in data[piece].iter().zip(from.by_ref()) {
                slot.store(*byte, Ordering::Relaxed);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "len <= 1024")]
        let len32 = len as u32;
        self.prod = self.prod.wrapping_add(len32);
        Ok(len)
    }

    /// Publishes the open batch once; true when the daemon may be asleep and needs an event.
    #[must_use]
    pub fn publish(&mut self, page: &impl RingPage) -> bool {
        let before = self.published;
        if before == self.prod {
            return false;
        }
        page.control()[REQ_PROD].store(self.prod, Ordering::Release);
        kexec::probe!(Publish);
        self.published = self.prod;
        // Without this fence both sides can miss each other.
        fence(Ordering::SeqCst);
        page.control()[REQ_CONS].load(Ordering::Relaxed) == before
    }
}

/// Our half of the response ring.
#[derive(Debug)]
pub struct Consumer {
    /// Private truth of `rsp_cons`, bytes of the open batch included.
    cons: u32,
    /// `rsp_cons` as last published.
    published: u32,
}

impl Consumer {
    /// Takes over the ring where it stands.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`] when the indices make no sense.
    pub fn attach(page: &impl RingPage) -> Result<Self, Fault> {
        let cons = page.control()[RSP_CONS].load(Ordering::Acquire);
        let half = Self {
            cons,
            published: cons,
        };
        half.available(page).map(|_| half)
    }

    /// `rsp_cons` as last published.
    #[must_use]
    pub fn published(&self) -> u32 {
        self.published
    }

    /// Bytes that can be pulled now.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`].
    pub fn available(&self, page: &impl RingPage) -> Result<usize, Fault> {
        let prod = page.control()[RSP_PROD].load(Ordering::Acquire);
        let used = prod.wrapping_sub(self.cons);
        if used > RING_LEN_U32 {
            return Err(Fault::ResponseIndex {
                prod,
                cons: self.cons,
            });
        }
        Ok(used as usize)
    }

    /// Copies bytes into `dst`, as many as there are; returns how many.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`].
    pub fn pull(&mut self, page: &impl RingPage, dst: &mut [u8]) -> Result<usize, Fault> {
        let len = self.available(page)?.min(dst.len());
        let data = page.data();
        let mut to = dst.iter_mut();
        for piece in pieces(RING_LEN, self.cons, len) {
            for (slot, byte) in data[piece].iter().zip(to.by_ref()) {
                *byte = slot.load(Ordering::Relaxed);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "len <= 1024")]
        let len32 = len as u32;
        self.cons = self.cons.wrapping_add(len32);
        Ok(len)
    }

    /// Frees what was pulled; true when the daemon may be blocked on a full ring and needs an event.
    #[must_use]
    pub fn publish(&mut self, page: &impl RingPage) -> bool {
        let before = self.published;
        if before == self.cons {
            return false;
        }
        // Loads of data come before the store that frees their space.
        fence(Ordering::SeqCst);
        page.control()[RSP_CONS].store(self.cons, Ordering::Release);
        self.published = self.cons;
        fence(Ordering::SeqCst);
        let prod = page.control()[RSP_PROD].load(Ordering::Relaxed);
        prod.wrapping_sub(before) >= RING_LEN_U32
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
