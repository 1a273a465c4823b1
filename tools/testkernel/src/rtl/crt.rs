// SPDX-License-Identifier: BSD-2-Clause
//! The C run-time names that the kernel exports: memory, narrow and wide strings, numbers, characters.
//!
//! ASCII rules; `wchar_t` is 16 bits. All run at any IRQL on memory that the driver vouches for.

use super::upcase;
use crate::mem::{Plain, Ptr};

/// A character of a C string.
trait Unit: Plain + Into<u32> + Eq {
    /// Bytes in memory.
    const SIZE: usize;
    /// The unit for a `wint_t` or `int` argument.
    fn from_arg(value: u32) -> Self;
}

impl Unit for u8 {
    const SIZE: usize = 1;
    fn from_arg(value: u32) -> Self {
        value as u8
    }
}

impl Unit for u16 {
    const SIZE: usize = 2;
    fn from_arg(value: u32) -> Self {
        value as u16
    }
}

fn at<U: Unit>(text: Ptr, index: usize) -> u32 {
    text.get::<U>(index * U::SIZE).into()
}

fn length<U: Unit>(text: Ptr, limit: usize) -> usize {
    (0..limit)
        .find(|index| at::<U>(text, *index) == 0)
        .unwrap_or(limit)
}

fn fold(unit: u32) -> u32 {
    if (0x41..=0x5A).contains(&unit) {
        unit + 0x20
    } else {
        unit
    }
}

fn compare<U: Unit>(left: Ptr, right: Ptr, limit: usize, map: fn(u32) -> u32) -> i32 {
    for index in 0..limit {
        let (l, r) = (map(at::<U>(left, index)), map(at::<U>(right, index)));
        if l != r {
            return if l < r { -1 } else { 1 };
        }
        if l == 0 {
            break;
        }
    }
    0
}

fn same(unit: u32) -> u32 {
    unit
}

fn find<U: Unit>(text: Ptr, what: u32, last: bool) -> Ptr {
    let wanted: u32 = U::from_arg(what).into();
    let length = length::<U>(text, usize::MAX);
    let mut all = 0..=length;
    let matches = |index: &usize| at::<U>(text, *index) == wanted;
    let found = if last {
        all.rev().find(matches)
    } else {
        all.find(matches)
    };
    found.map_or(Ptr::NULL, |index| text.add(index * U::SIZE))
}

fn find_text<U: Unit>(text: Ptr, what: Ptr) -> Ptr {
    let (all, part) = (length::<U>(text, usize::MAX), length::<U>(what, usize::MAX));
    (0..=all.saturating_sub(part))
        .filter(|_| part <= all)
        .map(|index| text.add(index * U::SIZE))
        .find(|start| compare::<U>(*start, what, part, same) == 0)
        .unwrap_or(Ptr::NULL)
}

fn copy<U: Unit>(to: Ptr, from: Ptr, limit: Option<usize>) -> Ptr {
    let length = length::<U>(from, limit.unwrap_or(usize::MAX));
    to.copy_within(from, length * U::SIZE);
    let end = to.add(length * U::SIZE);
    match limit {
        // strncpy fills the rest with zeros, and adds none when there is no room.
        Some(limit) => end.fill(0, (limit - length) * U::SIZE),
        None => end.set(0, U::from_arg(0)),
    }
    to
}

fn append<U: Unit>(to: Ptr, from: Ptr, limit: usize) -> Ptr {
    let end = to.add(length::<U>(to, usize::MAX) * U::SIZE);
    let count = length::<U>(from, limit);
    end.copy_within(from, count * U::SIZE);
    end.set(count * U::SIZE, U::from_arg(0));
    to
}

struct Number {
    magnitude: u64,
    negative: bool,
    overflow: bool,
}

fn parse(text: Ptr, end: Ptr, base: u32) -> Number {
    let digit = |index: usize, base: u32| char::from(text.get::<u8>(index)).to_digit(base);
    let mut index = 0;
    while matches!(text.get::<u8>(index), b' ' | 9..=13) {
        index += 1;
    }
    let sign = text.get::<u8>(index);
    index += usize::from(matches!(sign, b'-' | b'+'));
    let mut base = base;
    if matches!(base, 0 | 16) && text.get::<u8>(index) == b'0' {
        if matches!(text.get::<u8>(index + 1), b'x' | b'X') && digit(index + 2, 16).is_some() {
            index += 2;
            base = 16;
        } else if base == 0 {
            base = 8;
        }
    }
    let base = if base == 0 { 10 } else { base };
    let mut number = Number {
        magnitude: 0,
        negative: sign == b'-',
        overflow: false,
    };
    let first = index;
    if (2..=36).contains(&base) {
        while let Some(value) = digit(index, base) {
            let next = number
                .magnitude
                .checked_mul(u64::from(base))
                .and_then(|sum| sum.checked_add(u64::from(value)));
            number.overflow |= next.is_none();
            number.magnitude = next.unwrap_or(u64::MAX);
            index += 1;
        }
    }
    if !end.is_null() {
        end.set(
            0,
            if index == first {
                text
            } else {
                text.add(index)
            },
        );
    }
    number
}

fn parse_unsigned(text: Ptr, end: Ptr, base: u32, limit: u64) -> u64 {
    let number = parse(text, end, base);
    if number.overflow || number.magnitude > limit {
        limit
    } else if number.negative {
        number.magnitude.wrapping_neg()
    } else {
        number.magnitude
    }
}

fn parse_signed(text: Ptr, end: Ptr, base: u32, limit: i64) -> i64 {
    let number = parse(text, end, base);
    let most = limit as u64 + u64::from(number.negative);
    let magnitude = if number.overflow {
        most
    } else {
        number.magnitude.min(most)
    };
    let value = magnitude as i64;
    if number.negative {
        value.wrapping_neg()
    } else {
        value
    }
}

pub(super) extern "win64" fn memcpy(to: Ptr, from: Ptr, count: usize) -> Ptr {
    to.copy_within(from, count);
    to
}

pub(super) extern "win64" fn memset(to: Ptr, value: u32, count: usize) -> Ptr {
    to.fill(value as u8, count);
    to
}

pub(super) extern "win64" fn memcmp(left: Ptr, right: Ptr, count: usize) -> i32 {
    let differ = (0..count).find(|i| left.get::<u8>(*i) != right.get::<u8>(*i));
    differ.map_or(0, |i| {
        if left.get::<u8>(i) < right.get::<u8>(i) {
            -1
        } else {
            1
        }
    })
}

pub(super) extern "win64" fn memchr(text: Ptr, what: u32, count: usize) -> Ptr {
    let found = (0..count).find(|index| text.get::<u8>(*index) == what as u8);
    found.map_or(Ptr::NULL, |index| text.add(index))
}

/// Makes the narrow and the wide function from one generic body.
macro_rules! both {
    ($($narrow:ident, $wide:ident = ($($arg:ident: $type:ty),*) -> $result:ty, $body:ident($($value:expr),*);)*) => {$(
        pub(super) extern "win64" fn $narrow($($arg: $type),*) -> $result {
            $body::<u8>($($value),*)
        }
        pub(super) extern "win64" fn $wide($($arg: $type),*) -> $result {
            $body::<u16>($($value),*)
        }
    )*};
}

both! {
    strlen, wcslen = (text: Ptr) -> usize, length(text, usize::MAX);
    strnlen, wcsnlen = (text: Ptr, limit: usize) -> usize, length(text, limit);
    strcmp, wcscmp = (left: Ptr, right: Ptr) -> i32, compare(left, right, usize::MAX, same);
    strncmp, wcsncmp = (left: Ptr, right: Ptr, limit: usize) -> i32, compare(left, right, limit, same);
    stricmp, wcsicmp = (left: Ptr, right: Ptr) -> i32, compare(left, right, usize::MAX, fold);
    strnicmp, wcsnicmp = (left: Ptr, right: Ptr, limit: usize) -> i32, compare(left, right, limit, fold);
    strchr, wcschr = (text: Ptr, what: u32) -> Ptr, find(text, what, false);
    strrchr, wcsrchr = (text: Ptr, what: u32) -> Ptr, find(text, what, true);
    strstr, wcsstr = (text: Ptr, what: Ptr) -> Ptr, find_text(text, what);
    strcpy, wcscpy = (to: Ptr, from: Ptr) -> Ptr, copy(to, from, None);
    strncpy, wcsncpy = (to: Ptr, from: Ptr, limit: usize) -> Ptr, copy(to, from, Some(limit));
    strcat, wcscat = (to: Ptr, from: Ptr) -> Ptr, append(to, from, usize::MAX);
    strncat, wcsncat = (to: Ptr, from: Ptr, limit: usize) -> Ptr, append(to, from, limit);
}

pub(super) extern "win64" fn strtoui64(text: Ptr, end: Ptr, base: u32) -> u64 {
    parse_unsigned(text, end, base, u64::MAX)
}

pub(super) extern "win64" fn strtoul(text: Ptr, end: Ptr, base: u32) -> u32 {
    parse_unsigned(text, end, base, u64::from(u32::MAX)) as u32
}

pub(super) extern "win64" fn strtol(text: Ptr, end: Ptr, base: u32) -> i32 {
    parse_signed(text, end, base, i64::from(i32::MAX)) as i32
}

pub(super) extern "win64" fn atoi(text: Ptr) -> i32 {
    strtol(text, Ptr::NULL, 10)
}

pub(super) extern "win64" fn atoi64(text: Ptr) -> i64 {
    parse_signed(text, Ptr::NULL, 10, i64::MAX)
}

pub(super) extern "win64" fn toupper(c: u32) -> u32 {
    if (0x61..=0x7A).contains(&c) {
        c - 0x20
    } else {
        c
    }
}

pub(super) extern "win64" fn tolower(c: u32) -> u32 {
    fold(c)
}

pub(super) extern "win64" fn towupper(c: u16) -> u16 {
    upcase(c)
}

/// Makes the character tests.
macro_rules! character_tests {
    ($($name:ident = $test:expr;)*) => {$(
        pub(super) extern "win64" fn $name(c: u32) -> u32 {
            let test: fn(u8) -> bool = $test;
            u32::from(u8::try_from(c).is_ok_and(test))
        }
    )*};
}

character_tests! {
    isdigit = |c| c.is_ascii_digit();
    isxdigit = |c| c.is_ascii_hexdigit();
    isspace = |c| matches!(c, b' ' | 9..=13);
    isprint = |c| (0x20..0x7F).contains(&c);
    isupper = |c| c.is_ascii_uppercase();
    islower = |c| c.is_ascii_lowercase();
    isalpha = |c| c.is_ascii_alphabetic();
    isalnum = |c| c.is_ascii_alphanumeric();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &[u8]) -> Ptr {
        Ptr(text.as_ptr() as usize)
    }

    fn w(text: &[u16]) -> Ptr {
        Ptr(text.as_ptr() as usize)
    }

    #[test]
    fn comparisons_order_and_fold() {
        assert_eq!(strcmp(p(b"a\0"), p(b"a\0")), 0);
        assert!(strcmp(p(b"a\0"), p(b"b\0")) < 0);
        assert!(strcmp(p(b"a\xFF\0"), p(b"a\0")) > 0);
        assert_eq!(strncmp(p(b"abX\0"), p(b"abY\0"), 2), 0);
        assert_eq!(stricmp(p(b"HeLLo\0"), p(b"hEllO\0")), 0);
        assert!(strnicmp(p(b"abc\0"), p(b"ABD\0"), 3) < 0);
        assert_eq!(wcsnicmp(w(&[0x41, 0x42, 0]), w(&[0x61, 0x63, 0]), 1), 0);
        assert!(memcmp(p(b"ab"), p(b"ac"), 2) < 0);
    }

    #[test]
    fn searches_find_first_last_and_the_terminator() {
        let text = b"abcabc\0";
        let base = p(text);
        assert_eq!(strchr(base, 98), base.add(1));
        assert_eq!(strrchr(base, 98), base.add(4));
        assert_eq!(strchr(base, 0), base.add(6));
        assert_eq!(strchr(base, 0x7A), Ptr::NULL);
        assert_eq!(strstr(base, p(b"ca\0")), base.add(2));
        assert_eq!(strstr(base, p(b"\0")), base);
        assert_eq!(strstr(base, p(b"abcabcd\0")), Ptr::NULL);
        let wide = [0x61u16, 0x62, 0x61, 0];
        assert_eq!(wcsrchr(w(&wide), 0x61), w(&wide).add(4));
    }

    #[test]
    fn a_counted_copy_fills_with_zeros_and_may_lack_a_terminator() {
        let mut to = [0xAAu8; 6];
        strncpy(Ptr(to.as_mut_ptr() as usize), p(b"abc\0"), 5);
        assert_eq!(to, *b"abc\0\0\xAA");
        let mut to = [0xAAu8; 6];
        strncpy(Ptr(to.as_mut_ptr() as usize), p(b"abc\0"), 2);
        assert_eq!(to, *b"ab\xAA\xAA\xAA\xAA");
        let mut to = *b"x\0zzzz";
        strncat(Ptr(to.as_mut_ptr() as usize), p(b"abc\0"), 2);
        assert_eq!(to, *b"xab\0zz");
    }

    #[test]
    fn numbers_parse_with_sign_base_prefix_and_limits() {
        let mut end = Ptr::NULL;
        let at = Ptr(&raw mut end as usize);
        let text = b" 0x1fz\0";
        assert_eq!(strtoui64(p(text), at, 0), 0x1f);
        assert_eq!(end, p(text).add(5));
        assert_eq!(strtoui64(p(b"077\0"), Ptr::NULL, 0), 63);
        assert_eq!(
            strtoui64(p(b"99999999999999999999\0"), Ptr::NULL, 10),
            u64::MAX
        );
        assert_eq!(strtoul(p(b"-1\0"), Ptr::NULL, 10), u32::MAX);
        assert_eq!(strtol(p(b"-2147483649\0"), Ptr::NULL, 10), i32::MIN);
        assert_eq!(atoi(p(b"-42x\0")), -42);
        let none = b"zz\0";
        assert_eq!(strtoui64(p(none), at, 10), 0);
        assert_eq!(end, p(none));
    }

    #[test]
    fn character_tests_are_those_of_ascii() {
        assert_eq!(
            (isdigit(0x35), isdigit(0x61), isprint(0x1F), isprint(0x7E)),
            (1, 0, 0, 1)
        );
        assert_eq!(
            (toupper(0x61), tolower(0x5A), isdigit(0x130)),
            (0x41, 0x7A, 0)
        );
    }
}
