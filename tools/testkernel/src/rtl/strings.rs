// SPDX-License-Identifier: BSD-2-Clause
//! Counted strings: `ANSI_STRING` and `UNICODE_STRING`.
//!
//! A counted string is a 16-bit length and maximum in bytes and a buffer at offset 8. Those made here
//! with an allocation come from pool and go back through `RtlFreeUnicodeString` or
//! `RtlFreeAnsiString`. Code pages are Latin-1 for the narrow side.

use alloc::vec::Vec;

use super::upcase;
use crate::mem::Ptr;

const BUFFER_OVERFLOW: i32 = 0x8000_0005_u32 as i32;
const INVALID_PARAMETER: i32 = 0xC000_000D_u32 as i32;
const NO_MEMORY: i32 = 0xC000_0017_u32 as i32;
const BUFFER_TOO_SMALL: i32 = 0xC000_0023_u32 as i32;
const INVALID_PARAMETER_2: i32 = 0xC000_00F0_u32 as i32;
const TAG: u32 = u32::from_le_bytes(*b"grtS");

fn length(string: Ptr) -> usize {
    usize::from(string.get::<u16>(0))
}

fn maximum(string: Ptr) -> usize {
    usize::from(string.get::<u16>(2))
}

fn set(string: Ptr, length: usize, maximum: usize, buffer: Ptr) {
    string.set(0, length as u16);
    string.set(2, maximum as u16);
    string.set(8, buffer);
}

fn narrow(string: Ptr) -> Vec<u8> {
    string.ptr(8).to_vec(length(string))
}

fn put(buffer: Ptr, units: &[u16]) {
    for (index, unit) in units.iter().enumerate() {
        buffer.set(2 * index, *unit);
    }
}

/// Returns the buffer to fill with `needed` bytes: allocated, or the target's own when it is enough.
fn target(to: Ptr, length: usize, needed: usize, allocate: u8) -> Result<Ptr, i32> {
    if needed > usize::from(u16::MAX) {
        return Err(INVALID_PARAMETER_2);
    }
    if allocate != 0 {
        let buffer = crate::rtl::allocate(needed.max(1), TAG);
        if buffer.is_null() {
            return Err(NO_MEMORY);
        }
        set(to, length, needed, buffer);
    } else if needed > maximum(to) {
        return Err(BUFFER_OVERFLOW);
    } else {
        to.set(0, length as u16);
    }
    Ok(to.ptr(8))
}

fn status(result: Result<(), i32>) -> i32 {
    result.err().unwrap_or(0)
}

fn init(string: Ptr, source: Ptr, length: usize, unit: usize) {
    if source.is_null() {
        return set(string, 0, 0, Ptr::NULL);
    }
    let bytes = (length * unit).min(usize::from(u16::MAX) + 1 - 2 * unit);
    set(string, bytes, bytes + unit, source);
}

pub(super) extern "win64" fn init_ansi(string: Ptr, source: Ptr) {
    let length = if source.is_null() {
        0
    } else {
        super::crt::strlen(source)
    };
    init(string, source, length, 1);
}

pub(super) extern "win64" fn init_unicode(string: Ptr, source: Ptr) {
    let length = if source.is_null() {
        0
    } else {
        super::crt::wcslen(source)
    };
    init(string, source, length, 2);
}

pub(super) extern "win64" fn ansi_to_unicode(to: Ptr, from: Ptr, allocate: u8) -> i32 {
    let text = narrow(from);
    let bytes = 2 * text.len();
    status(target(to, bytes, bytes + 2, allocate).map(|buffer| {
        let units: Vec<u16> = text.iter().map(|c| u16::from(*c)).chain([0]).collect();
        put(buffer, &units);
    }))
}

pub(super) extern "win64" fn unicode_to_ansi(to: Ptr, from: Ptr, allocate: u8) -> i32 {
    let mut text: Vec<u8> = from
        .unicode_units()
        .iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(b'?'))
        .collect();
    text.push(0);
    status(target(to, text.len() - 1, text.len(), allocate).map(|buffer| buffer.copy_from(&text)))
}

fn convert_case(to: Ptr, from: Ptr, allocate: u8, map: fn(u16) -> u16) -> i32 {
    let units: Vec<u16> = from.unicode_units().into_iter().map(map).collect();
    let bytes = 2 * units.len();
    status(target(to, bytes, bytes, allocate).map(|buffer| put(buffer, &units)))
}

pub(super) extern "win64" fn upcase_unicode(to: Ptr, from: Ptr, allocate: u8) -> i32 {
    convert_case(to, from, allocate, upcase)
}

pub(super) extern "win64" fn downcase_unicode(to: Ptr, from: Ptr, allocate: u8) -> i32 {
    convert_case(to, from, allocate, super::downcase)
}

pub(super) extern "win64" fn upcase_char(unit: u16) -> u16 {
    upcase(unit)
}

pub(super) extern "win64" fn downcase_char(unit: u16) -> u16 {
    super::downcase(unit)
}

pub(super) extern "win64" fn free(string: Ptr) {
    let buffer = string.ptr(8);
    if !buffer.is_null() {
        crate::rtl::release(buffer);
        set(string, 0, 0, Ptr::NULL);
    }
}

fn append(to: Ptr, from: Ptr, bytes: usize) -> i32 {
    let used = length(to);
    if used + bytes > maximum(to) {
        return BUFFER_TOO_SMALL;
    }
    let end = to.ptr(8).add(used);
    end.copy_within(from, bytes);
    to.set(0, (used + bytes) as u16);
    if used + bytes + 2 <= maximum(to) {
        end.set(bytes, 0u16);
    }
    0
}

pub(super) extern "win64" fn append_text(to: Ptr, from: Ptr) -> i32 {
    if from.is_null() {
        return 0;
    }
    append(to, from, 2 * super::crt::wcslen(from))
}

pub(super) extern "win64" fn append_string(to: Ptr, from: Ptr) -> i32 {
    append(to, from.ptr(8), length(from))
}

pub(super) extern "win64" fn copy_unicode(to: Ptr, from: Ptr) {
    to.set(0, 0u16);
    if !from.is_null() {
        append(to, from.ptr(8), length(from).min(maximum(to) & !1));
    }
}

fn compare<T: Ord>(left: &[T], right: &[T]) -> i32 {
    left.cmp(right) as i32
}

fn units(string: Ptr, ignore_case: u8) -> Vec<u16> {
    let map = if ignore_case != 0 {
        upcase
    } else {
        |unit| unit
    };
    string.unicode_units().into_iter().map(map).collect()
}

fn bytes(string: Ptr, ignore_case: u8) -> Vec<u8> {
    let mut text = narrow(string);
    if ignore_case != 0 {
        text.make_ascii_uppercase();
    }
    text
}

pub(super) extern "win64" fn compare_unicode(left: Ptr, right: Ptr, ignore_case: u8) -> i32 {
    compare(&units(left, ignore_case), &units(right, ignore_case))
}

pub(super) extern "win64" fn equal_unicode(left: Ptr, right: Ptr, ignore_case: u8) -> u8 {
    u8::from(compare_unicode(left, right, ignore_case) == 0)
}

pub(super) extern "win64" fn prefix_unicode(prefix: Ptr, text: Ptr, ignore_case: u8) -> u8 {
    u8::from(units(text, ignore_case).starts_with(&units(prefix, ignore_case)))
}

pub(super) extern "win64" fn compare_ansi(left: Ptr, right: Ptr, ignore_case: u8) -> i32 {
    compare(&bytes(left, ignore_case), &bytes(right, ignore_case))
}

pub(super) extern "win64" fn equal_ansi(left: Ptr, right: Ptr, ignore_case: u8) -> u8 {
    u8::from(compare_ansi(left, right, ignore_case) == 0)
}

pub(super) extern "win64" fn unicode_to_integer(string: Ptr, base: u32, value: Ptr) -> i32 {
    let text = string.unicode_units();
    let mut rest = &text[..];
    while let [first, tail @ ..] = rest {
        if *first > 0x20 {
            break;
        }
        rest = tail;
    }
    let mut negative = false;
    if let [sign @ (0x2B | 0x2D), tail @ ..] = rest {
        negative = *sign == 0x2D;
        rest = tail;
    }
    let mut base = base;
    if base == 0 {
        base = 10;
        if let [0x30, letter, tail @ ..] = rest {
            let named = match *letter | 0x20 {
                0x78 => Some(16),
                0x6F => Some(8),
                0x62 => Some(2),
                _ => None,
            };
            if let Some(named) = named {
                base = named;
                rest = tail;
            }
        }
    }
    if !matches!(base, 2 | 8 | 10 | 16) {
        return INVALID_PARAMETER;
    }
    let digits = rest
        .iter()
        .map_while(|unit| char::from_u32(u32::from(*unit)).and_then(|c| c.to_digit(base)));
    let number = digits.fold(0u32, |sum, digit| {
        sum.wrapping_mul(base).wrapping_add(digit)
    });
    value.set(
        0,
        if negative {
            number.wrapping_neg()
        } else {
            number
        },
    );
    0
}

fn from_number(number: u64, base: u32, string: Ptr) -> i32 {
    let base = u64::from(if base == 0 { 10 } else { base });
    if !matches!(base, 2 | 8 | 10 | 16) {
        return INVALID_PARAMETER;
    }
    let mut digits = Vec::new();
    let mut rest = number;
    loop {
        digits.push(u16::from(b"0123456789ABCDEF"[(rest % base) as usize]));
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    digits.reverse();
    if 2 * digits.len() > maximum(string) {
        return BUFFER_OVERFLOW;
    }
    string.set(0, 2 * digits.len() as u16);
    put(string.ptr(8), &digits);
    if 2 * digits.len() + 2 <= maximum(string) {
        string.ptr(8).set(2 * digits.len(), 0u16);
    }
    0
}

pub(super) extern "win64" fn integer_to_unicode(number: u32, base: u32, string: Ptr) -> i32 {
    from_number(u64::from(number), base, string)
}

pub(super) extern "win64" fn int64_to_unicode(number: u64, base: u32, string: Ptr) -> i32 {
    from_number(number, base, string)
}

/// Fills `string` with allocated text.
pub(crate) fn allocated(string: Ptr, text: &[u16]) -> i32 {
    let bytes = 2 * text.len();
    status(target(string, bytes, bytes + 2, 1).map(|buffer| {
        put(buffer, text);
        buffer.set(bytes, 0u16);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counted string with a buffer of its own.
    struct Owned {
        header: [u64; 2],
        buffer: Vec<u16>,
    }

    impl Owned {
        fn new(text: &str, room: usize) -> Self {
            let mut buffer: Vec<u16> = text.encode_utf16().collect();
            let length = 2 * buffer.len() as u64;
            buffer.resize(room, 0xAAAA);
            let header = [length | (2 * room as u64) << 16, buffer.as_ptr() as u64];
            Self { header, buffer }
        }

        fn ptr(&mut self) -> Ptr {
            Ptr(self.header.as_mut_ptr() as usize)
        }

        fn length(&self) -> u16 {
            self.header[0] as u16
        }
    }

    #[test]
    fn append_writes_a_terminator_only_when_it_fits() {
        let mut part = Owned::new("cd", 2);
        let mut exact = Owned::new("ab", 4);
        assert_eq!(append_string(exact.ptr(), part.ptr()), 0);
        assert_eq!(exact.ptr().unicode_string(), "abcd");
        let mut roomy = Owned::new("ab", 5);
        assert_eq!(append_string(roomy.ptr(), part.ptr()), 0);
        assert_eq!(roomy.buffer[4], 0);
        let mut small = Owned::new("ab", 3);
        assert_eq!(append_string(small.ptr(), part.ptr()), BUFFER_TOO_SMALL);
        assert_eq!(small.length(), 4);
    }

    #[test]
    fn conversion_without_room_overflows_and_leaves_the_target() {
        let mut from = Owned::new("hello", 5);
        let mut to = Owned::new("", 2);
        assert_eq!(unicode_to_ansi(to.ptr(), from.ptr(), 0), BUFFER_OVERFLOW);
        assert_eq!(to.length(), 0);
        let mut to = Owned::new("", 3);
        assert_eq!(unicode_to_ansi(to.ptr(), from.ptr(), 0), 0);
        assert_eq!(to.ptr().ansi_string(), "hello");
        let mut back = Owned::new("", 6);
        assert_eq!(ansi_to_unicode(back.ptr(), to.ptr(), 0), 0);
        assert_eq!(back.ptr().unicode_string(), "hello");
        assert_eq!(back.buffer[5], 0);
    }

    #[test]
    fn comparison_knows_case_and_prefix() {
        let (mut a, mut b) = (Owned::new("Hello", 5), Owned::new("hELLO", 5));
        let mut c = Owned::new("hel", 3);
        assert_eq!(equal_unicode(a.ptr(), b.ptr(), 1), 1);
        assert_eq!(equal_unicode(a.ptr(), b.ptr(), 0), 0);
        assert!(compare_unicode(a.ptr(), b.ptr(), 0) < 0);
        assert_eq!(prefix_unicode(c.ptr(), a.ptr(), 1), 1);
        assert_eq!(prefix_unicode(a.ptr(), c.ptr(), 1), 0);
    }

    #[test]
    fn numbers_convert_both_ways() {
        let mut value = 0u64;
        let at = Ptr(&raw mut value as usize);
        let mut text = Owned::new(" -0x1F", 8);
        assert_eq!(unicode_to_integer(text.ptr(), 0, at), 0);
        assert_eq!(value as u32 as i32, -31);
        assert_eq!(unicode_to_integer(text.ptr(), 7, at), INVALID_PARAMETER);
        let mut to = Owned::new("", 8);
        assert_eq!(integer_to_unicode(0xBEEF, 16, to.ptr()), 0);
        assert_eq!(to.ptr().unicode_string(), "BEEF");
        let mut to = Owned::new("", 2);
        assert_eq!(integer_to_unicode(123, 10, to.ptr()), BUFFER_OVERFLOW);
    }

    #[test]
    fn init_of_nothing_gives_zeros() {
        let mut header = [u64::MAX; 2];
        let at = Ptr(header.as_mut_ptr() as usize);
        init_unicode(at, Ptr::NULL);
        assert_eq!((header[0] as u32, header[1]), (0, 0));
        init_ansi(at, Ptr(c"abc".as_ptr() as usize));
        assert_eq!(header[0] as u32, 3 | 4 << 16);
    }
}
