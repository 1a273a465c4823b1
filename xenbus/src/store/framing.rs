// SPDX-License-Identifier: BSD-2-Clause
//! Whole messages over the byte rings: a resumable sender and a resumable receiver.
//!
//! A message can be four times longer than its ring, so both sides stop anywhere, mid-header or
//! mid-payload, and go on at the next turn. Messages of one direction never interleave. Owned by
//! the task that owns the connection; any IRQL; nothing to stop.

use super::request::TAG;
use super::ring::{Consumer, Fault, Producer, RingPage};
use super::wire::{HEADER_LEN, Header, PAYLOAD_MAX};
use kexec::nt::Vec;
use kexec::{Result as StatusResult, Status};

/// Sends one message at a time.
#[derive(Debug)]
pub struct Sender {
    ring: Producer,
    /// Bytes of the current message, header included, that are on the ring.
    sent: usize,
}

impl Sender {
    /// Takes over the request ring.
    ///
    /// # Errors
    /// [`Fault::RequestIndex`].
    pub fn attach(page: &impl RingPage) -> Result<Self, Fault> {
        Ok(Self {
            ring: Producer::attach(page)?,
            sent: 0,
        })
    }

    /// Pushes what fits of a message; true once all of it is on the ring.
    ///
    /// The caller passes the same message until it is whole: half a message cannot be withdrawn.
    ///
    /// # Errors
    /// [`Fault::RequestIndex`].
    pub fn push(
        &mut self,
        page: &impl RingPage,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
    ) -> Result<bool, Fault> {
        let total = HEADER_LEN + payload.len();
        while self.sent < total {
            let rest = header
                .get(self.sent..)
                .filter(|rest| !rest.is_empty())
                .unwrap_or_else(|| &payload[self.sent.saturating_sub(HEADER_LEN)..]);
            let pushed = self.ring.push(page, rest)?;
            if pushed == 0 {
                return Ok(false);
            }
            self.sent += pushed;
        }
        self.sent = 0;
        Ok(true)
    }

    /// The ring's index as last published.
    #[must_use]
    pub fn published(&self) -> u32 {
        self.ring.published()
    }

    /// Whether a message is partly on the ring.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.sent != 0
    }

    /// Publishes the batch; true when the daemon needs an event.
    #[must_use]
    pub fn publish(&mut self, page: &impl RingPage) -> bool {
        self.ring.publish(page)
    }
}

/// Assembles one message at a time in private memory.
pub struct Receiver {
    ring: Consumer,
    header: [u8; HEADER_LEN],
    /// Bytes of the current message, header included, that have arrived.
    got: usize,
    /// The assembly area, 4096 bytes.
    payload: Vec<u8>,
    /// Payload length of the message last returned.
    len: usize,
}

impl Receiver {
    /// Takes over the response ring.
    ///
    /// # Errors
    /// `NO_MEMORY`; `DEVICE_PROTOCOL_ERROR` when the indices make no sense.
    pub fn try_attach(page: &impl RingPage) -> StatusResult<Self> {
        let ring = Consumer::attach(page).map_err(|_| Status::DEVICE_PROTOCOL_ERROR)?;
        let mut payload = Vec::new(TAG);
        payload.try_reserve(PAYLOAD_MAX)?;
        for _ in 0..PAYLOAD_MAX / 64 {
            payload.try_extend_from_slice(&[0; 64])?;
        }
        Ok(Self {
            ring,
            header: [0; HEADER_LEN],
            got: 0,
            payload,
            len: 0,
        })
    }

    /// Starts over on a page whose indices were rebuilt.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`].
    pub fn reattach(&mut self, page: &impl RingPage) -> Result<(), Fault> {
        self.ring = Consumer::attach(page)?;
        self.got = 0;
        self.len = 0;
        Ok(())
    }

    /// The header of the next whole message, if one is complete; its bytes are in
    /// [`payload`](Self::payload) until the next call.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`], [`Fault::PayloadTooLong`]; the connection is dead after either.
    pub fn next(&mut self, page: &impl RingPage) -> Result<Option<Header>, Fault> {
        if self.got < HEADER_LEN {
            self.got += self.ring.pull(page, &mut self.header[self.got..])?;
            if self.got < HEADER_LEN {
                return Ok(None);
            }
        }
        let header = Header::from_bytes(&self.header);
        let len = header.len as usize;
        if len > PAYLOAD_MAX {
            return Err(Fault::PayloadTooLong { len: header.len });
        }
        self.got += self
            .ring
            .pull(page, &mut self.payload[self.got - HEADER_LEN..len])?;
        if self.got < HEADER_LEN + len {
            return Ok(None);
        }
        self.got = 0;
        self.len = len;
        Ok(Some(header))
    }

    /// The payload of the message that [`next`](Self::next) returned last.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload[..self.len]
    }

    /// The ring's index as last published.
    #[must_use]
    pub fn published(&self) -> u32 {
        self.ring.published()
    }

    /// Whether a message is partly assembled.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.got != 0
    }

    /// Bytes waiting in the ring.
    ///
    /// # Errors
    /// [`Fault::ResponseIndex`].
    pub fn available(&self, page: &impl RingPage) -> Result<usize, Fault> {
        self.ring.available(page)
    }

    /// Frees what was read; true when the daemon needs an event.
    #[must_use]
    pub fn publish(&mut self, page: &impl RingPage) -> bool {
        self.ring.publish(page)
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
