// SPDX-License-Identifier: BSD-2-Clause
//! The formatter of StorePrintf: the kernel's narrow printf rules, as far as drivers use them.
//!
//! Arguments are 8-byte slots; only those that the format names are read. Conversions: `d i u o x X c C
//! s S p Z %`, flags, width and precision also by `*`, sizes `h hh l ll w I I32 I64 j t z`. There is no
//! floating point, no `%n`. Any IRQL for narrow text; memory behind pointers is the caller's concern.

use heapless::Vec;
use kexec::Result;

use crate::status;

/// Longest result.
pub const TEXT_MAX: usize = 1023;
/// Text in the making.
pub type Text = Vec<u8, TEXT_MAX>;

/// Where arguments come from: the `va_list`, and what its pointers point at.
pub trait Arguments {
    /// The next slot; its upper half is undefined for a 32-bit argument.
    fn slot(&mut self) -> u64;
    /// Byte `index` of the narrow string at `address`.
    fn narrow(&self, address: u64, index: usize) -> u8;
    /// Unit `index` of the wide string at `address`.
    fn wide(&self, address: u64, index: usize) -> u16;
    /// Length in bytes and buffer of the counted string at `address`.
    fn counted(&self, address: u64) -> (u16, u64);
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Size {
    #[default]
    Int,
    Char,
    Short,
    Long,
    Wide,
    Quad,
}

#[derive(Clone, Copy, Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
}

/// Formats.
///
/// # Errors
/// `INVALID_BUFFER_SIZE` for a result over 1023 characters, `INVALID_PARAMETER` for a conversion that
/// does not exist here.
pub fn format(format: impl Iterator<Item = u8>, arguments: &mut impl Arguments) -> Result<Text> {
    let mut out = Text::new();
    let mut format = format.peekable();
    while let Some(byte) = format.next() {
        if byte != b'%' {
            put(&mut out, byte)?;
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = format.next_if(|b| b"-+ #0".contains(b)) {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                _ => spec.zero = true,
            }
        }
        match number(&mut format, arguments) {
            Some(width) if width < 0 => {
                spec.left = true;
                spec.width = width.unsigned_abs() as usize;
            }
            Some(width) => spec.width = width as usize,
            None => {}
        }
        if format.next_if_eq(&b'.').is_some() {
            // A negative precision is none at all.
            spec.precision = usize::try_from(number(&mut format, arguments).unwrap_or(0)).ok();
        }
        spec.size = size(&mut format);
        let conversion = format.next().ok_or(status::INVALID_PARAMETER)?;
        convert(&mut out, conversion, spec, arguments)?;
    }
    Ok(out)
}

type Format<I> = core::iter::Peekable<I>;

fn number<I: Iterator<Item = u8>>(
    format: &mut Format<I>,
    arguments: &mut impl Arguments,
) -> Option<i32> {
    if format.next_if_eq(&b'*').is_some() {
        return Some(int(arguments.slot()));
    }
    let mut value = None;
    while let Some(digit) = format.next_if(u8::is_ascii_digit) {
        let so_far: i32 = value.unwrap_or(0);
        value = Some(
            so_far
                .saturating_mul(10)
                .saturating_add(i32::from(digit - b'0')),
        );
    }
    value
}

fn size<I: Iterator<Item = u8>>(format: &mut Format<I>) -> Size {
    let Some(first) = format.next_if(|b| b"hlwIjtz".contains(b)) else {
        return Size::Int;
    };
    match first {
        b'h' if format.next_if_eq(&b'h').is_some() => Size::Char,
        b'h' => Size::Short,
        b'l' if format.next_if_eq(&b'l').is_some() => Size::Quad,
        b'l' => Size::Long,
        b'w' => Size::Wide,
        b'I' => match format.next_if(|b| b"36".contains(b)) {
            Some(b'3') => {
                format.next_if_eq(&b'2');
                Size::Int
            }
            Some(_) => {
                format.next_if_eq(&b'4');
                Size::Quad
            }
            None => Size::Quad,
        },
        _ => Size::Quad,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the upper half of the slot is undefined"
)]
fn int(slot: u64) -> i32 {
    slot as u32 as i32
}

fn signed(size: Size, slot: u64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the conversion names the size"
    )]
    match size {
        Size::Char => i64::from(slot as u8 as i8),
        Size::Short => i64::from(slot as u16 as i16),
        Size::Quad => slot as i64,
        _ => i64::from(int(slot)),
    }
}

fn unsigned(size: Size, slot: u64) -> u64 {
    match size {
        Size::Char => slot & 0xFF,
        Size::Short => slot & 0xFFFF,
        Size::Quad => slot,
        _ => slot & 0xFFFF_FFFF,
    }
}

fn convert(out: &mut Text, conversion: u8, spec: Spec, arguments: &mut impl Arguments) -> Result {
    match conversion {
        b'%' => put(out, b'%'),
        b'd' | b'i' => {
            let value = signed(spec.size, arguments.slot());
            let sign: &[u8] = match value {
                ..0 => b"-",
                _ if spec.plus => b"+",
                _ if spec.space => b" ",
                _ => b"",
            };
            integer(out, spec, sign, value.unsigned_abs(), 10, false)
        }
        b'u' => integer(
            out,
            spec,
            b"",
            unsigned(spec.size, arguments.slot()),
            10,
            false,
        ),
        b'o' => {
            let value = unsigned(spec.size, arguments.slot());
            let sign: &[u8] = if spec.alternate && value != 0 {
                b"0"
            } else {
                b""
            };
            integer(out, spec, sign, value, 8, false)
        }
        b'x' | b'X' => {
            let value = unsigned(spec.size, arguments.slot());
            let upper = conversion == b'X';
            let sign: &[u8] = match (spec.alternate && value != 0, upper) {
                (false, _) => b"",
                (true, false) => b"0x",
                (true, true) => b"0X",
            };
            integer(out, spec, sign, value, 16, upper)
        }
        b'p' => {
            let spec = Spec {
                precision: Some(16),
                zero: false,
                ..spec
            };
            integer(out, spec, b"", arguments.slot(), 16, true)
        }
        b'c' | b'C' => {
            let slot = arguments.slot();
            let byte = if is_wide(conversion, b'C', spec.size) {
                narrowed((slot & 0xFFFF) as u16)
            } else {
                (slot & 0xFF) as u8
            };
            padded(out, spec, &[], 1, |_| byte)
        }
        b's' | b'S' => {
            let address = arguments.slot();
            string(
                out,
                spec,
                is_wide(conversion, b'S', spec.size),
                address,
                None,
                arguments,
            )
        }
        b'Z' => {
            let address = arguments.slot();
            let wide = matches!(spec.size, Size::Wide | Size::Long);
            let (bytes, buffer) = match address {
                0 => (0, 0),
                _ => arguments.counted(address),
            };
            let units = usize::from(bytes) / if wide { 2 } else { 1 };
            string(out, spec, wide, buffer, Some(units), arguments)
        }
        _ => Err(status::INVALID_PARAMETER),
    }
}

/// Whether text is wide: the capital letter turns it round, `h` and `l` say it.
fn is_wide(conversion: u8, capital: u8, size: Size) -> bool {
    match size {
        Size::Short | Size::Char => false,
        Size::Long | Size::Wide | Size::Quad => true,
        Size::Int => conversion == capital,
    }
}

fn narrowed(unit: u16) -> u8 {
    u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'?')
}

fn string(
    out: &mut Text,
    spec: Spec,
    wide: bool,
    address: u64,
    counted: Option<usize>,
    arguments: &impl Arguments,
) -> Result {
    let limit = spec.precision.unwrap_or(usize::MAX);
    if address == 0 {
        let text = b"(null)";
        return padded(out, spec, &[], text.len().min(limit), |i| text[i]);
    }
    let at = |i| {
        if wide {
            arguments.wide(address, i)
        } else {
            u16::from(arguments.narrow(address, i))
        }
    };
    // One more than fits is known to be too long: nothing behind it is read.
    let limit = limit.min(TEXT_MAX + 1);
    let len = match counted {
        Some(units) => units.min(limit),
        None => (0..limit).find(|&i| at(i) == 0).unwrap_or(limit),
    };
    padded(out, spec, &[], len, |i| match wide {
        true => narrowed(at(i)),
        false => (at(i) & 0xFF) as u8,
    })
}

fn integer(
    out: &mut Text,
    spec: Spec,
    sign: &[u8],
    mut value: u64,
    base: u64,
    upper: bool,
) -> Result {
    let table = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    // 22 octal digits are the longest.
    let mut digits = [0; 22];
    let mut at = digits.len();
    while value != 0 {
        at -= 1;
        digits[at] = table[(value % base) as usize];
        value /= base;
    }
    let digits = &digits[at..];
    let least = match spec.precision {
        Some(least) => least,
        // Zeros fill the width, unless a precision says otherwise.
        None if spec.zero && !spec.left => spec.width.saturating_sub(sign.len()).max(1),
        None => 1,
    };
    let len = digits.len().max(least);
    let zeros = len - digits.len();
    padded(out, spec, sign, len, |i| {
        i.checked_sub(zeros).map_or(b'0', |i| digits[i])
    })
}

fn padded(out: &mut Text, spec: Spec, sign: &[u8], len: usize, at: impl Fn(usize) -> u8) -> Result {
    let total = sign
        .len()
        .checked_add(len)
        .ok_or(status::INVALID_BUFFER_SIZE)?;
    if total.max(spec.width) > TEXT_MAX - out.len() {
        return Err(status::INVALID_BUFFER_SIZE);
    }
    let fill = spec.width.saturating_sub(total);
    let (before, after) = if spec.left { (0, fill) } else { (fill, 0) };
    for _ in 0..before {
        put(out, b' ')?;
    }
    for byte in sign {
        put(out, *byte)?;
    }
    for i in 0..len {
        put(out, at(i))?;
    }
    for _ in 0..after {
        put(out, b' ')?;
    }
    Ok(())
}

fn put(out: &mut Text, byte: u8) -> Result {
    out.push(byte).map_err(|_| status::INVALID_BUFFER_SIZE)
}

#[cfg(test)]
#[path = "printf_tests.rs"]
mod tests;
