// SPDX-License-Identifier: BSD-2-Clause
//! [`WStr`]: borrowed UTF-16 text as the kernel's UNICODE_STRING wants it, and the [`wstr!`](crate::wstr) literal.
#![expect(unsafe_code, reason = "reads a UNICODE_STRING that the kernel passed")]

use core::fmt;

use super::sys::UNICODE_STRING;

/// Borrowed UTF-16 text without terminator (a terminator may follow in memory).
///
/// # IRQL
/// Any (pool and image data are resident).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WStr<'a>(&'a [u16]);

impl<'a> WStr<'a> {
    /// `units` whole, without terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(units: &'a [u16]) -> Self {
        Self(units)
    }

    /// `units` without its last element, a terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn from_terminated(units: &'a [u16]) -> Self {
        match units.split_last() {
            Some((_, text)) => Self(text),
            None => Self(&[]),
        }
    }

    /// The text of a UNICODE_STRING handed in by the kernel.
    ///
    /// # Safety
    /// `string` is valid and its buffer stays unchanged for `'a`.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub unsafe fn from_raw(string: *const UNICODE_STRING) -> Self {
        // SAFETY: valid by contract.
        let view = unsafe { string.read() };
        if view.Buffer.is_null() {
            return Self(&[]);
        }
        // SAFETY: the buffer holds `Length` bytes by contract.
        Self(unsafe { core::slice::from_raw_parts(view.Buffer, usize::from(view.Length) / 2) })
    }

    /// The code units.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn units(self) -> &'a [u16] {
        self.0
    }

    /// A UNICODE_STRING over this text, for as long as it lives.
    pub(crate) fn raw(self) -> UNICODE_STRING {
        let bytes = u16::try_from(self.0.len() * 2).unwrap_or(u16::MAX - 1);
        UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            Buffer: self.0.as_ptr().cast_mut(),
        }
    }

    /// Whether both are equal when ASCII letters' case is ignored.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn eq_ignore_ascii_case(self, other: WStr<'_>) -> bool {
        let fold = |unit: &u16| {
            u8::try_from(*unit).map_or(*unit, |byte| u16::from(byte.to_ascii_lowercase()))
        };
        self.0.iter().map(fold).eq(other.0.iter().map(fold))
    }
}

impl fmt::Display for WStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        char::decode_utf16(self.0.iter().copied())
            .try_for_each(|c| f.write_char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl fmt::Debug for WStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Encodes ASCII text at compile time; used by [`wstr!`](crate::wstr).
///
/// # IRQL
/// Any.
#[doc(hidden)]
#[must_use]
pub const fn encode<const N: usize>(text: &str) -> [u16; N] {
    let bytes = text.as_bytes();
    let mut units = [0; N];
    let mut index = 0;
    while index < bytes.len() {
        assert!(bytes[index] < 0x80, "wstr! takes ASCII text");
        units[index] = bytes[index] as u16;
        index += 1;
    }
    units
}

/// A [`WStr`] of an ASCII literal, NUL-terminated in memory, in read-only data.
///
/// # IRQL
/// Any.
#[macro_export]
macro_rules! wstr {
    ($text:expr) => {{
        const TEXT: &str = $text;
        static UNITS: [u16; TEXT.len() + 1] = $crate::nt::encode_wide::<{ TEXT.len() + 1 }>(TEXT);
        $crate::nt::WStr::from_terminated(&UNITS)
    }};
}
