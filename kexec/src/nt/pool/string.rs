// SPDX-License-Identifier: BSD-2-Clause
//! [`String`] (UTF-8) and [`WString`] (UTF-16 with a terminator) in pool.

use core::fmt::{self, Write};
use core::ops::Deref;

use super::{Tag, Vec};
use crate::Result;
use crate::nt::WStr;

/// UTF-8 text in non-paged pool. Formatting into it (`write!`) fails when memory runs out.
///
/// # IRQL
/// Reading: any. Growing and dropping: <= DISPATCH_LEVEL.
#[derive(PartialEq)]
pub struct String(Vec<u8>);

impl String {
    /// Empty text; allocates nothing.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(tag: Tag) -> Self {
        Self(Vec::new(tag))
    }

    /// A copy of `text`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_from_str(tag: Tag, text: &str) -> Result<Self> {
        let mut copy = Self::new(tag);
        copy.try_push_str(text)?;
        Ok(copy)
    }

    /// Formats into a new string; see [`try_format!`](crate::try_format).
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_from_fmt(tag: Tag, arguments: fmt::Arguments<'_>) -> Result<Self> {
        let mut text = Self::new(tag);
        text.write_fmt(arguments)
            .map_err(|_| crate::Status::INSUFFICIENT_RESOURCES)?;
        Ok(text)
    }

    /// Appends `text`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_push_str(&mut self, text: &str) -> Result {
        self.0.try_extend_from_slice(text.as_bytes())
    }

    /// The text.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole `str`s are ever appended.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Drops the text; keeps the memory.
    ///
    /// # IRQL
    /// Any.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A copy under the same tag.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Write for String {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.try_push_str(text).map_err(|_| fmt::Error)
    }
}

impl Deref for String {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for String {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// UTF-16 text with a terminating zero, in non-paged pool.
///
/// # IRQL
/// Reading: any. Making and dropping: <= DISPATCH_LEVEL.
pub struct WString(Vec<u16>);

impl WString {
    /// Encodes `text`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_from_str(tag: Tag, text: &str) -> Result<Self> {
        let mut units = Vec::new(tag);
        units.try_reserve(text.len() + 1)?;
        for unit in text.encode_utf16().chain([0]) {
            units.try_push(unit)?;
        }
        Ok(Self(units))
    }

    /// A copy of `units` up to the first zero.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_from_units(tag: Tag, units: &[u16]) -> Result<Self> {
        let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
        let mut copy = Vec::try_with_capacity(tag, text.len() + 1)?;
        copy.try_extend_from_slice(text)?;
        copy.try_push(0)?;
        Ok(Self(copy))
    }

    /// The text with its terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_wstr(&self) -> WStr<'_> {
        WStr::from_terminated(&self.0)
    }

    /// The code units without the terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        self.0.split_last().map_or(&[], |(_, units)| units)
    }

    /// The text as UTF-8; what is not valid UTF-16 becomes U+FFFD.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_to_string(&self, tag: Tag) -> Result<String> {
        let mut text = String::new(tag);
        let mut buffer = [0; 4];
        for decoded in char::decode_utf16(self.units().iter().copied()) {
            text.try_push_str(
                decoded
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
                    .encode_utf8(&mut buffer),
            )?;
        }
        Ok(text)
    }
}

impl fmt::Display for WString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_wstr(), f)
    }
}

impl fmt::Debug for WString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_wstr(), f)
    }
}
