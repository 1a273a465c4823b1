// SPDX-License-Identifier: BSD-2-Clause
//! Access to memory that drivers own.
//!
//! A driver hands us raw addresses of C structures. The kernel never forms references to them: it
//! reads and writes single fields through [`Ptr`]. A wild address faults, and the fault handler names
//! the driver and the call; that is the behaviour that NT has, so these accessors are safe functions.
//! Kernel-owned Rust objects are never reached through a `Ptr`.
//!
//! # IRQL
//!
//! Any.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// An address in a driver's view of memory.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Ptr(pub usize);

impl core::fmt::Debug for Ptr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl core::fmt::Display for Ptr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Types for which every bit pattern is a value.
///
/// # Safety
///
/// The type has no padding and no invalid bit pattern.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($t:ty),*) => {$(
        // SAFETY: an integer, or a transparent wrapper of one, has no invalid bit pattern.
        unsafe impl Plain for $t {}
    )*};
}
plain!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, Ptr);

impl Ptr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// Whether this is the null pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `offset` bytes further on.
    pub const fn add(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// The address `offset` bytes before.
    pub const fn sub(self, offset: usize) -> Self {
        Self(self.0.wrapping_sub(offset))
    }

    /// Reads the field at `offset`.
    pub fn get<T: Plain>(self, offset: usize) -> T {
        let at = self.add(offset).0 as *const T;
        // SAFETY: the driver vouches for the address (module doc); every bit pattern is a `T`.
        unsafe { at.read_unaligned() }
    }

    /// Writes the field at `offset`.
    pub fn set<T: Plain>(self, offset: usize, value: T) {
        let at = self.add(offset).0 as *mut T;
        // SAFETY: the driver vouches for the address (module doc).
        unsafe { at.write_unaligned(value) }
    }

    /// Reads the pointer at `offset`.
    pub fn ptr(self, offset: usize) -> Self {
        self.get(offset)
    }

    /// The byte at `offset` as an atomic.
    pub fn atomic8(self, offset: usize) -> &'static AtomicU8 {
        let at = self.add(offset).0 as *mut u8;
        // SAFETY: the driver vouches for the address and its lifetime (module doc).
        unsafe { AtomicU8::from_ptr(at) }
    }

    /// The 32-bit word at `offset` as an atomic; the address must be aligned.
    pub fn atomic32(self, offset: usize) -> &'static AtomicU32 {
        let at = self.add(offset).0 as *mut u32;
        // SAFETY: the driver vouches for the address and its lifetime (module doc).
        unsafe { AtomicU32::from_ptr(at) }
    }

    /// The 64-bit word at `offset` as an atomic; the address must be aligned.
    pub fn atomic64(self, offset: usize) -> &'static AtomicU64 {
        let at = self.add(offset).0 as *mut u64;
        // SAFETY: the driver vouches for the address and its lifetime (module doc).
        unsafe { AtomicU64::from_ptr(at) }
    }

    /// Copies `len` bytes out.
    pub fn to_vec(self, len: usize) -> Vec<u8> {
        let mut out = alloc::vec![0u8; len];
        self.copy_to(&mut out);
        out
    }

    /// Copies bytes out into `out`.
    pub fn copy_to(self, out: &mut [u8]) {
        let from = self.0 as *const u8;
        // SAFETY: the driver vouches for the source (module doc); `out` is ours and distinct.
        unsafe { core::ptr::copy(from, out.as_mut_ptr(), out.len()) }
    }

    /// Copies `data` in.
    pub fn copy_from(self, data: &[u8]) {
        let to = self.0 as *mut u8;
        // SAFETY: the driver vouches for the target (module doc); `data` is ours and distinct.
        unsafe { core::ptr::copy(data.as_ptr(), to, data.len()) }
    }

    /// Copies `len` bytes from another driver address; the ranges may overlap.
    pub fn copy_within(self, from: Self, len: usize) {
        let to = self.0 as *mut u8;
        let from = from.0 as *const u8;
        // SAFETY: the driver vouches for both ranges (module doc).
        unsafe { core::ptr::copy(from, to, len) }
    }

    /// Fills `len` bytes.
    pub fn fill(self, value: u8, len: usize) {
        let to = self.0 as *mut u8;
        // SAFETY: the driver vouches for the range (module doc).
        unsafe { core::ptr::write_bytes(to, value, len) }
    }

    /// The NUL-terminated byte string at this address, without its NUL.
    pub fn cstr(self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let byte: u8 = self.get(at);
            if byte == 0 {
                return out;
            }
            out.push(byte);
            at += 1;
        }
    }

    /// The NUL-terminated 16-bit string at this address, without its NUL.
    pub fn wstr(self) -> Vec<u16> {
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let unit: u16 = self.get(at);
            if unit == 0 {
                return out;
            }
            out.push(unit);
            at += 2;
        }
    }

    /// The text of the `UNICODE_STRING` at this address as 16-bit units.
    pub fn unicode_units(self) -> Vec<u16> {
        let len = usize::from(self.get::<u16>(0)) / 2;
        let buffer = self.ptr(8);
        (0..len).map(|i| buffer.get::<u16>(i * 2)).collect()
    }

    /// The text of the `UNICODE_STRING` at this address.
    pub fn unicode_string(self) -> String {
        String::from_utf16_lossy(&self.unicode_units())
    }

    /// The text of the `ANSI_STRING` at this address.
    pub fn ansi_string(self) -> String {
        let len = usize::from(self.get::<u16>(0));
        String::from_utf8_lossy(&self.ptr(8).to_vec(len)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_back_at_their_offsets() {
        let mut memory = [0u64; 4];
        let p = Ptr(memory.as_mut_ptr() as usize);
        p.set::<u16>(3, 0xbeef);
        p.set::<Ptr>(8, Ptr(42));
        assert_eq!(p.get::<u16>(3), 0xbeef);
        assert_eq!(p.ptr(8), Ptr(42));
        assert_eq!(memory[1], 42);
    }

    #[test]
    fn a_unicode_string_is_read_by_its_length() {
        let text: Vec<u16> = "héllo world".encode_utf16().collect();
        let mut memory = [0u64; 2];
        let p = Ptr(memory.as_mut_ptr() as usize);
        p.set::<u16>(0, 10);
        p.set::<Ptr>(8, Ptr(text.as_ptr() as usize));
        assert_eq!(p.unicode_string(), "héllo");
    }
}
