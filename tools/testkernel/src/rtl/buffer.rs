// SPDX-License-Identifier: BSD-2-Clause
//! Output buffers of the `printf` family, with the Microsoft run-time's truncation rule: text that fits is ended by a NUL if
//! there is room for one; text that does not fit fills the buffer, and the result is -1.

use super::printf::Sink;

/// A sink over a byte buffer with the run-time's truncation rule.
pub(crate) struct NarrowBuffer<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl<'a> NarrowBuffer<'a> {
    /// Starts an empty buffer.
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }

    /// Ends the string and returns what `_vsnprintf` returns: -1 when the text did not fit.
    pub(crate) fn finish(self) -> i32 {
        if let Some(end) = self.buffer.get_mut(self.used) {
            *end = 0;
        }
        if self.used > self.buffer.len() {
            -1
        } else {
            self.used as i32
        }
    }

    /// Returns the text so far.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[..self.used.min(self.buffer.len())]
    }
}

impl Sink for NarrowBuffer<'_> {
    fn put(&mut self, unit: u16) {
        if let Some(slot) = self.buffer.get_mut(self.used) {
            *slot = u8::try_from(unit).unwrap_or(b'?');
        }
        self.used = self.used.saturating_add(1);
    }
}

/// A sink over a buffer of 16-bit units with the run-time's truncation rule.
pub(crate) struct WideBuffer<'a> {
    buffer: &'a mut [u16],
    used: usize,
}

impl<'a> WideBuffer<'a> {
    /// Starts an empty buffer.
    pub(crate) fn new(buffer: &'a mut [u16]) -> Self {
        Self { buffer, used: 0 }
    }

    /// Ends the string and returns what `_vsnwprintf` returns: -1 when the text did not fit.
    pub(crate) fn finish(self) -> i32 {
        if let Some(end) = self.buffer.get_mut(self.used) {
            *end = 0;
        }
        if self.used > self.buffer.len() {
            -1
        } else {
            self.used as i32
        }
    }
}

impl Sink for WideBuffer<'_> {
    fn put(&mut self, unit: u16) {
        if let Some(slot) = self.buffer.get_mut(self.used) {
            *slot = unit;
        }
        self.used = self.used.saturating_add(1);
    }
}
