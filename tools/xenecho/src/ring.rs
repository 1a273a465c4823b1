// SPDX-License-Identifier: BSD-2-Clause
//! The two pages: one that we write, one that the backend writes.
//!
//! | words | what |
//! |---|---|
//! | 0 | how many messages were ever written; wraps |
//! | 16 to 527 | 32 slots of 16 words: the message's number, 15 words of data |
//!
//! Each side counts what it has taken for itself. Whatever the backend writes is read once, checked, then used.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::{Contiguous, PAGE_SIZE, Tag};
use kexec::{Result, Status};
use xenbus_interface::client::{Grant, GrantCache};

/// Messages on their way at most.
pub(crate) const SLOTS: u32 = 32;
/// Words of a slot: a number and data.
const WORDS: usize = 16;

/// A message: its number and its data.
pub(crate) type Message = [u32; WORDS];

/// A page that the backend may use.
pub(crate) type Ring<'a> = Grant<'a, Contiguous>;

/// What both sides know of message `number`.
pub(crate) fn message(nonce: u32, number: u32) -> Message {
    let mut words = [number; WORDS];
    for (at, word) in (0..).zip(&mut words).skip(1) {
        *word = (nonce ^ number.wrapping_mul(0x9E37_79B9)).rotate_left(at);
    }
    words
}

/// What comes back for it.
pub(crate) fn answer(nonce: u32, number: u32) -> Message {
    let mut words = message(nonce, number);
    for word in &mut words[1..] {
        *word = !*word;
    }
    words
}

/// A page of zeros, granted.
pub(crate) fn share<'a>(
    tag: Tag,
    cache: &'a GrantCache<'_>,
    domain: u16,
    read_only: bool,
) -> Result<Ring<'a>> {
    let page = Contiguous::try_alloc(tag, 1)?;
    for word in page.shared().atomics_u32() {
        word.store(0, Ordering::Relaxed);
    }
    let frame = page.address() / PAGE_SIZE as u64;
    cache.permit(page, domain, frame, read_only)
}

fn slot(words: &[AtomicU32], number: u32) -> &[AtomicU32] {
    let at = WORDS * (1 + (number % SLOTS) as usize);
    &words[at..at + WORDS]
}

/// Writes message `number`, the next one. There must be room.
pub(crate) fn put(page: &Contiguous, number: u32, message: &Message) {
    let words = page.shared().atomics_u32();
    for (to, from) in slot(words, number).iter().zip(message) {
        to.store(*from, Ordering::Relaxed);
    }
    words[0].store(number.wrapping_add(1), Ordering::Release);
}

/// Takes message `number`, if it is there; `sent` were sent, and no more can have come back.
///
/// # Errors
/// `STATUS_DEVICE_PROTOCOL_ERROR`: more has come back than was sent, or less than before.
pub(crate) fn take(page: &Contiguous, number: u32, sent: u32) -> Result<Option<Message>> {
    let words = page.shared().atomics_u32();
    let written = words[0].load(Ordering::Acquire);
    let (there, possible) = (written.wrapping_sub(number), sent.wrapping_sub(number));
    if there > possible {
        return Err(Status::DEVICE_PROTOCOL_ERROR);
    }
    if there == 0 {
        return Ok(None);
    }
    let mut message = [0; WORDS];
    for (to, from) in message.iter_mut().zip(slot(words, number)) {
        *to = from.load(Ordering::Relaxed);
    }
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kexec::nt::sys::fake;

    const TAG: Tag = Tag(*b"TEST");

    #[test]
    fn what_is_put_is_taken_in_order_and_numbers_wrap() {
        let _kernel = fake::boot();
        let page = Contiguous::try_alloc(TAG, 1).expect("memory");
        let first = u32::MAX - 1;
        page.shared().atomics_u32()[0].store(first, Ordering::Relaxed);
        for number in [first, first + 1, 0, 1] {
            put(&page, number, &message(7, number));
        }
        let sent = 2;
        for number in [first, first + 1, 0, 1] {
            let taken = take(&page, number, sent).expect("sane");
            assert_eq!(taken, Some(message(7, number)));
        }
        assert_eq!(take(&page, 2, sent), Ok(None));
    }

    #[test]
    fn a_backend_that_claims_more_than_it_was_sent_is_refused() {
        let _kernel = fake::boot();
        let page = Contiguous::try_alloc(TAG, 1).expect("memory");
        for claim in [4, 33, u32::MAX] {
            page.shared().atomics_u32()[0].store(claim, Ordering::Relaxed);
            let taken = take(&page, 0, 3);
            assert_eq!(taken, Err(Status::DEVICE_PROTOCOL_ERROR), "{claim}");
        }
        page.shared().atomics_u32()[0].store(1, Ordering::Relaxed);
        assert_eq!(take(&page, 2, 3), Err(Status::DEVICE_PROTOCOL_ERROR));
    }

    #[test]
    fn an_answer_differs_from_its_message_in_every_word_of_data() {
        let (sent, back) = (message(0xABCD, 5), answer(0xABCD, 5));
        assert_eq!(sent[0], back[0]);
        assert!(sent[1..].iter().zip(&back[1..]).all(|(a, b)| *a == !*b));
        assert_ne!(message(0xABCD, 6)[1..], sent[1..]);
    }
}
