// SPDX-License-Identifier: BSD-2-Clause
//! The formatter behind `_vsnprintf`, `_vsnwprintf` and the debug print calls.
//!
//! It follows the Microsoft C run-time: `long` is 32 bits, `%p` is sixteen upper-case digits, `%S`
//! means "the other width", `%Z` prints a counted string. No floating point, as in the real kernel.
//! It takes no lock and allocates nothing, so it may run at any IRQL. The caller owns the buffers.

/// Receives formatted text one unit at a time.
pub(crate) trait Sink {
    /// Takes one UTF-16 unit; a narrow sink converts it.
    fn put(&mut self, unit: u16);
}

/// A format string of either width.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    /// 8-bit characters.
    Narrow(&'a [u8]),
    /// 16-bit characters.
    Wide(&'a [u16]),
}

impl Text<'_> {
    fn at(&self, index: usize) -> Option<u16> {
        match self {
            Text::Narrow(text) => text.get(index).map(|c| u16::from(*c)),
            Text::Wide(text) => text.get(index).copied(),
        }
    }

    fn is_wide(&self) -> bool {
        matches!(self, Text::Wide(_))
    }
}

/// Where arguments come from: a `va_list` in the kernel, an array in tests.
pub(crate) trait Args {
    /// Returns the next 8-byte slot.
    fn next(&mut self) -> u64;
    /// Reads a byte of a string argument.
    fn byte(&self, address: u64) -> u8;
    /// Reads a 16-bit unit of a string argument.
    fn word(&self, address: u64) -> u16;
    /// Reads the buffer pointer of a counted string argument.
    fn pointer(&self, address: u64) -> u64;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Default,
    Short,
    Wide,
    Long,
    Quad,
}

#[derive(Clone, Copy)]
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

struct Cursor<'a> {
    text: Text<'a>,
    next: usize,
}

impl Cursor<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        match self.text.at(self.next.saturating_add(ahead)) {
            Some(unit) if unit < 0x80 => unit as u8,
            _ => 0,
        }
    }

    fn eat(&mut self, what: u8) -> bool {
        let found = self.peek(0) == what;
        if found {
            self.next += 1;
        }
        found
    }

    fn number(&mut self, args: &mut dyn Args) -> i32 {
        if self.eat(b'*') {
            return args.next() as i32;
        }
        let mut value = 0i32;
        while self.peek(0).is_ascii_digit() {
            value = value
                .saturating_mul(10)
                .saturating_add(i32::from(self.peek(0) - b'0'));
            self.next += 1;
        }
        value
    }

    fn spec(&mut self, args: &mut dyn Args) -> Spec {
        let mut spec = Spec {
            left: false,
            plus: false,
            space: false,
            alternate: false,
            zero: false,
            width: 0,
            precision: None,
            size: Size::Default,
        };
        loop {
            match self.peek(0) {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            self.next += 1;
        }
        let width = self.number(args);
        spec.left |= width < 0;
        spec.width = width.unsigned_abs() as usize;
        if self.eat(b'.') {
            spec.precision = usize::try_from(self.number(args)).ok();
        }
        self.size(&mut spec);
        spec
    }

    fn size(&mut self, spec: &mut Spec) {
        loop {
            match (self.peek(0), self.peek(1), self.peek(2)) {
                (b'I', b'6', b'4') => {
                    spec.size = Size::Quad;
                    self.next += 2;
                }
                (b'I', b'3', b'2') => {
                    spec.size = Size::Long;
                    self.next += 2;
                }
                (b'l', b'l', _) => {
                    spec.size = Size::Quad;
                    self.next += 1;
                }
                (b'I' | b'z' | b'j' | b't', _, _) => spec.size = Size::Quad,
                (b'l', _, _) => spec.size = Size::Long,
                (b'w', _, _) => spec.size = Size::Wide,
                (b'h', _, _) => spec.size = Size::Short,
                (b'L' | b'N' | b'F', _, _) => {}
                _ => return,
            }
            self.next += 1;
        }
    }
}

/// Formats `text` with `args` into `out` and returns the number of units produced.
pub(crate) fn format(out: &mut dyn Sink, text: Text<'_>, args: &mut dyn Args) -> usize {
    let mut out = Counter { out, count: 0 };
    let mut cursor = Cursor { text, next: 0 };
    while let Some(unit) = cursor.text.at(cursor.next) {
        if unit == 0 {
            break;
        }
        cursor.next += 1;
        if unit != u16::from(b'%') {
            out.put(unit);
            continue;
        }
        let spec = cursor.spec(args);
        let Some(kind) = cursor.text.at(cursor.next) else {
            break;
        };
        if kind == 0 {
            break;
        }
        cursor.next += 1;
        convert(&mut out, spec, kind, text.is_wide(), args);
    }
    out.count
}

struct Counter<'a> {
    out: &'a mut dyn Sink,
    count: usize,
}

impl Counter<'_> {
    fn put(&mut self, unit: u16) {
        self.out.put(unit);
        self.count = self.count.saturating_add(1);
    }

    fn pad(&mut self, with: u8, count: usize) {
        for _ in 0..count {
            self.put(u16::from(with));
        }
    }
}

fn convert(out: &mut Counter<'_>, spec: Spec, kind: u16, wide: bool, args: &mut dyn Args) {
    let letter = u8::try_from(kind).unwrap_or(0);
    match letter {
        b'd' | b'i' => {
            let value = signed(args.next(), spec.size);
            let sign = match (value < 0, spec.plus, spec.space) {
                (true, _, _) => Some(b'-'),
                (_, true, _) => Some(b'+'),
                (_, _, true) => Some(b' '),
                _ => None,
            };
            integer(out, spec, value.unsigned_abs(), 10, false, sign.as_slice());
        }
        b'u' => integer(out, spec, unsigned(args.next(), spec.size), 10, false, &[]),
        b'o' => integer(out, spec, unsigned(args.next(), spec.size), 8, false, &[]),
        b'x' | b'X' => {
            let value = unsigned(args.next(), spec.size);
            let prefix = [b'0', letter];
            let prefix = if spec.alternate && value != 0 {
                &prefix[..]
            } else {
                &[]
            };
            integer(out, spec, value, 16, letter == b'X', prefix);
        }
        b'p' => {
            let spec = Spec {
                precision: Some(16),
                ..spec
            };
            integer(out, spec, args.next(), 16, true, &[]);
        }
        b'c' | b'C' => {
            let wide = is_wide(spec.size, letter == b'C', wide);
            let value = args.next();
            let unit = if wide {
                value as u16
            } else {
                u16::from(value as u8)
            };
            field(out, spec, 1, |out| out.put(unit));
        }
        b's' | b'S' => {
            let wide = is_wide(spec.size, letter == b'S', wide);
            let address = args.next();
            string(out, spec, address, usize::MAX, wide, args);
        }
        b'Z' => {
            let counted = args.next();
            let wide = matches!(spec.size, Size::Wide | Size::Long);
            let (address, bytes) = if counted == 0 {
                (0, 0)
            } else {
                let length = [args.byte(counted), args.byte(counted + 1)];
                (
                    args.pointer(counted + 8),
                    usize::from(u16::from_le_bytes(length)),
                )
            };
            let units = if wide { bytes / 2 } else { bytes };
            string(out, spec, address, units, wide, args);
        }
        b'e' | b'E' | b'f' | b'g' | b'G' | b'a' | b'A' => {
            args.next();
            out.pad(b'%', 1);
            out.put(kind);
        }
        b'n' => {
            args.next();
        }
        _ => out.put(kind),
    }
}

fn is_wide(size: Size, other: bool, wide_function: bool) -> bool {
    match size {
        Size::Short => false,
        Size::Wide | Size::Long => true,
        Size::Default | Size::Quad => wide_function != other,
    }
}

fn signed(slot: u64, size: Size) -> i64 {
    match size {
        Size::Quad => slot as i64,
        Size::Short => i64::from(slot as i16),
        _ => i64::from(slot as i32),
    }
}

fn unsigned(slot: u64, size: Size) -> u64 {
    match size {
        Size::Quad => slot,
        Size::Short => u64::from(slot as u16),
        _ => u64::from(slot as u32),
    }
}

fn field(out: &mut Counter<'_>, spec: Spec, length: usize, body: impl FnOnce(&mut Counter<'_>)) {
    let padding = spec.width.saturating_sub(length);
    let with = if spec.zero && !spec.left { b'0' } else { b' ' };
    if !spec.left {
        out.pad(with, padding);
    }
    body(out);
    if spec.left {
        out.pad(b' ', padding);
    }
}

fn integer(out: &mut Counter<'_>, spec: Spec, value: u64, base: u64, upper: bool, prefix: &[u8]) {
    let mut digits = [0u8; 24];
    let mut count = 0;
    let mut rest = value;
    while rest != 0 {
        let digit = (rest % base) as u8;
        digits[count] = match (digit, upper) {
            (0..=9, _) => b'0' + digit,
            (_, true) => b'A' + digit - 10,
            (_, false) => b'a' + digit - 10,
        };
        count += 1;
        rest /= base;
    }
    let octal = usize::from(base == 8 && spec.alternate && count != 0);
    let minimum = spec.precision.unwrap_or(1).max(count + octal);
    let zeros = minimum - count;
    let length = prefix.len() + minimum;
    // The zero flag pads after the sign and is off once there is a precision.
    let padding = spec.width.saturating_sub(length);
    let zero_fill = spec.zero && !spec.left && spec.precision.is_none();
    if !spec.left && !zero_fill {
        out.pad(b' ', padding);
    }
    for c in prefix {
        out.put(u16::from(*c));
    }
    out.pad(b'0', zeros + if zero_fill { padding } else { 0 });
    for digit in digits[..count].iter().rev() {
        out.put(u16::from(*digit));
    }
    if spec.left {
        out.pad(b' ', padding);
    }
}

fn string(
    out: &mut Counter<'_>,
    spec: Spec,
    address: u64,
    units: usize,
    wide: bool,
    args: &dyn Args,
) {
    let limit = spec.precision.unwrap_or(usize::MAX);
    if address == 0 && (units == usize::MAX || units == 0) {
        let null = b"(null)";
        let text = &null[..limit.min(null.len())];
        field(out, spec, text.len(), |out| {
            text.iter().for_each(|c| out.put(u16::from(*c)))
        });
        return;
    }
    let unit = |index: usize| {
        if wide {
            args.word(address + 2 * index as u64)
        } else {
            u16::from(args.byte(address + index as u64))
        }
    };
    let most = limit.min(units);
    let mut length = 0;
    while length < most && (units != usize::MAX || unit(length) != 0) {
        length += 1;
    }
    field(out, spec, length, |out| {
        (0..length).for_each(|index| out.put(unit(index)))
    });
}

#[cfg(test)]
mod tests {
    use super::super::buffer::{NarrowBuffer, WideBuffer};
    use super::*;
    use std::collections::HashMap;
    use std::string::String;
    use std::vec::Vec;

    /// Arguments from a list, strings from a made-up address space.
    #[derive(Default)]
    struct Fake {
        slots: Vec<u64>,
        next: usize,
        memory: HashMap<u64, u8>,
        top: u64,
    }

    impl Fake {
        fn of(slots: &[u64]) -> Self {
            Self {
                slots: slots.to_vec(),
                top: 0x1000,
                ..Self::default()
            }
        }

        fn place(&mut self, bytes: &[u8]) -> u64 {
            let at = self.top;
            for (index, byte) in bytes.iter().enumerate() {
                self.memory.insert(at + index as u64, *byte);
            }
            self.top += bytes.len() as u64;
            at
        }

        fn wide(&mut self, text: &str) -> u64 {
            let bytes: Vec<u8> = text
                .encode_utf16()
                .chain([0])
                .flat_map(u16::to_le_bytes)
                .collect();
            self.place(&bytes)
        }

        fn push(&mut self, slot: u64) {
            self.slots.push(slot);
        }
    }

    impl Args for Fake {
        fn next(&mut self) -> u64 {
            self.next += 1;
            self.slots[self.next - 1]
        }
        fn byte(&self, address: u64) -> u8 {
            self.memory[&address]
        }
        fn word(&self, address: u64) -> u16 {
            u16::from_le_bytes([self.memory[&address], self.memory[&(address + 1)]])
        }
        fn pointer(&self, address: u64) -> u64 {
            (0..8).fold(0, |sum, i| {
                sum | u64::from(self.memory[&(address + i)]) << (8 * i)
            })
        }
    }

    fn run(text: &str, args: &mut Fake) -> String {
        let mut buffer = [0u8; 128];
        let mut out = NarrowBuffer::new(&mut buffer);
        format(&mut out, Text::Narrow(text.as_bytes()), args);
        String::from_utf8(out.text().to_vec()).unwrap()
    }

    fn one(text: &str, slot: u64) -> String {
        run(text, &mut Fake::of(&[slot]))
    }

    #[test]
    fn integers_follow_width_precision_and_flags() {
        assert_eq!(one("%d", -5i64 as u64), "-5");
        assert_eq!(one("%5d|", 42), "   42|");
        assert_eq!(one("%-5d|", 42), "42   |");
        assert_eq!(one("%05d", -42i64 as u64), "-0042");
        assert_eq!(one("%.4d", 42), "0042");
        assert_eq!(one("%+d", 42), "+42");
        assert_eq!(one("%u", u64::MAX), "4294967295");
        assert_eq!(one("%x", 0xDEAD_BEEF), "deadbeef");
        assert_eq!(one("%#010X", 0xBEEF), "0X0000BEEF");
        assert_eq!(one("%o", 8), "10");
        assert_eq!(one("%.0d", 0), "");
        assert_eq!(run("%*d", &mut Fake::of(&[6, 7])), "     7");
    }

    #[test]
    fn sizes_are_those_of_64_bit_windows() {
        assert_eq!(one("%ld", 0xFFFF_FFFF), "-1");
        assert_eq!(one("%lld", u64::MAX), "-1");
        assert_eq!(one("%I64u", u64::MAX), "18446744073709551615");
        assert_eq!(one("%Ix", 1 << 40), "10000000000");
        assert_eq!(one("%I32d", 1 << 40), "0");
        assert_eq!(one("%hd", 0x1_8000), "-32768");
        assert_eq!(one("%zu", 1 << 40), "1099511627776");
    }

    #[test]
    fn a_pointer_is_sixteen_upper_case_digits() {
        assert_eq!(one("%p", 0xabc), "0000000000000ABC");
    }

    #[test]
    fn strings_of_both_widths_and_counted_strings_print() {
        let mut args = Fake::of(&[]);
        let narrow = args.place(b"abc\0");
        let wide = args.wide("wide");
        args.slots = std::vec![narrow, wide, wide, narrow, wide, narrow];
        assert_eq!(
            run("%s %S %ws %hs %.2ls %5s", &mut args),
            "abc wide wide abc wi   abc"
        );

        let mut args = Fake::of(&[]);
        let text = args.wide("counted");
        let mut header = std::vec![8, 0, 20, 0, 0, 0, 0, 0];
        header.extend(text.to_le_bytes());
        let counted = args.place(&header);
        args.push(counted);
        assert_eq!(run("<%wZ>", &mut args), "<coun>");

        let mut args = Fake::of(&[]);
        let text = args.place(b"ansi");
        let mut header = std::vec![3, 0, 4, 0, 0, 0, 0, 0];
        header.extend(text.to_le_bytes());
        let counted = args.place(&header);
        args.push(counted);
        assert_eq!(run("<%Z>", &mut args), "<ans>");
        assert_eq!(one("%s", 0), "(null)");
        assert_eq!(one("%wZ", 0), "(null)");
    }

    #[test]
    fn percent_and_unknown_letters_print_themselves() {
        assert_eq!(run("100%% %y", &mut Fake::of(&[])), "100% y");
        assert_eq!(run("end%", &mut Fake::of(&[])), "end");
    }

    #[test]
    fn truncation_returns_minus_one_and_an_exact_fit_has_no_terminator() {
        let result = |size: usize, text: &str| {
            let mut buffer = [0xAAu8; 8];
            let mut out = NarrowBuffer::new(&mut buffer[..size]);
            format(&mut out, Text::Narrow(text.as_bytes()), &mut Fake::of(&[]));
            (out.finish(), buffer)
        };
        assert_eq!(result(4, "abc"), (3, *b"abc\0\xAA\xAA\xAA\xAA"));
        assert_eq!(result(3, "abc"), (3, *b"abc\xAA\xAA\xAA\xAA\xAA"));
        assert_eq!(result(2, "abc"), (-1, *b"ab\xAA\xAA\xAA\xAA\xAA\xAA"));
    }

    #[test]
    fn in_a_wide_format_plain_s_is_wide() {
        let mut args = Fake::of(&[]);
        let narrow = args.place(b"n\0");
        let wide = args.wide("w");
        args.slots = std::vec![wide, narrow, narrow];
        let text: Vec<u16> = "%s%S%hs".encode_utf16().collect();
        let mut buffer = [0u16; 8];
        let mut out = WideBuffer::new(&mut buffer);
        format(&mut out, Text::Wide(&text), &mut args);
        assert_eq!(out.finish(), 3);
        assert_eq!(&buffer[..4], &[b'w'.into(), b'n'.into(), b'n'.into(), 0]);
    }
}
