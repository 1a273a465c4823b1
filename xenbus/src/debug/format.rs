// SPDX-License-Identifier: BSD-2-Clause
//! The formatter of DebugPrintf: `%[-][0][width][l|ll][w]conversion`.
//!
//! Conversions are `d u o x X p c s Z`; `%%` and any other letter print themselves and read nothing. `l` is 32 bits, `ll` 64; `w`
//! takes UTF-16 and prints its low bytes. `p` is 16 upper-case digits. Numbers go to the right of their width, text to the left,
//! and `-` turns either round: for text the reverse of C. Safe at any IRQL, which the kernel's own wide formats are not.

use kexec::nt::log::Line;

use crate::facade::printf::Arguments;

/// One line of a dump, with the prefix.
pub type Text = Line<256>;

/// Most characters read of one string: what does not end here does not fit into a line.
const STRING_MAX: usize = 256;

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    width: u8,
    quad: bool,
    wide: bool,
}

/// Appends the formatted text to `out`; what does not fit is cut. Control characters end up as spaces: a line is a line.
pub fn format(out: &mut Text, format: impl Iterator<Item = u8>, arguments: &mut impl Arguments) {
    let mut format = format.peekable();
    while let Some(byte) = format.next() {
        if byte != b'%' {
            put(out, byte);
            continue;
        }
        let mut spec = Spec {
            left: format.next_if_eq(&b'-').is_some(),
            ..Spec::default()
        };
        spec.zero = format.next_if_eq(&b'0').is_some();
        while let Some(digit) = format.next_if(u8::is_ascii_digit) {
            spec.width = spec.width.wrapping_mul(10).wrapping_add(digit - b'0');
        }
        if format.next_if_eq(&b'l').is_some() {
            spec.quad = format.next_if_eq(&b'l').is_some();
        }
        spec.wide = format.next_if_eq(&b'w').is_some();
        match format.next() {
            Some(conversion) => convert(out, conversion, &spec, arguments),
            None => return,
        }
    }
}

fn convert(out: &mut Text, conversion: u8, spec: &Spec, arguments: &mut impl Arguments) {
    match conversion {
        b'd' => {
            let slot = arguments.slot();
            let value = if spec.quad {
                slot.cast_signed()
            } else {
                i64::from((slot as u32).cast_signed())
            };
            number(out, spec, value < 0, value.unsigned_abs(), 10, false);
        }
        b'u' | b'o' | b'x' | b'X' => {
            let slot = arguments.slot();
            let value = if spec.quad { slot } else { slot & 0xFFFF_FFFF };
            let base = match conversion {
                b'u' => 10,
                b'o' => 8,
                _ => 16,
            };
            number(out, spec, false, value, base, conversion == b'X');
        }
        b'p' => {
            let spec = Spec {
                zero: true,
                width: 16,
                ..Spec::default()
            };
            number(out, &spec, false, arguments.slot(), 16, true);
        }
        b'c' => {
            let byte = (arguments.slot() & 0xFF) as u8;
            text(out, spec, &[byte]);
        }
        b's' | b'Z' => string(out, conversion == b'Z', spec, arguments),
        other => put(out, other),
    }
}

fn string(out: &mut Text, counted: bool, spec: &Spec, arguments: &mut impl Arguments) {
    let address = arguments.slot();
    let (mut limit, mut buffer) = (STRING_MAX, address);
    if counted && address != 0 {
        let (bytes, at) = arguments.counted(address);
        limit = usize::from(bytes) / if spec.wide { 2 } else { 1 };
        buffer = at;
    }
    if buffer == 0 {
        text(out, spec, b"(null)");
        return;
    }
    let mut bytes = [0; STRING_MAX];
    let mut len = 0;
    for (index, slot) in bytes.iter_mut().enumerate().take(limit) {
        let byte = if spec.wide {
            (arguments.wide(buffer, index) & 0xFF) as u8
        } else {
            arguments.narrow(buffer, index)
        };
        if byte == 0 {
            break;
        }
        *slot = byte;
        len = index + 1;
    }
    text(out, spec, &bytes[..len]);
}

fn number(out: &mut Text, spec: &Spec, negative: bool, value: u64, base: u64, upper: bool) {
    let mut digits = [0; 22];
    let mut rest = value;
    let mut count = 0;
    loop {
        // Below 16.
        let digit = (rest % base) as u8;
        let letter = if upper { b'A' } else { b'a' };
        digits[count] = if digit < 10 {
            b'0' + digit
        } else {
            letter + digit - 10
        };
        count += 1;
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    let padding = usize::from(spec.width).saturating_sub(count + usize::from(negative));
    if !spec.left {
        repeat(out, if spec.zero { b'0' } else { b' ' }, padding);
    }
    if negative {
        put(out, b'-');
    }
    for &digit in digits[..count].iter().rev() {
        put(out, digit);
    }
    if spec.left {
        repeat(out, b' ', padding);
    }
}

fn text(out: &mut Text, spec: &Spec, bytes: &[u8]) {
    let padding = usize::from(spec.width).saturating_sub(bytes.len());
    if spec.left {
        repeat(out, b' ', padding);
    }
    for &byte in bytes {
        put(out, byte);
    }
    if !spec.left {
        repeat(out, b' ', padding);
    }
}

fn repeat(out: &mut Text, byte: u8, count: usize) {
    for _ in 0..count {
        put(out, byte);
    }
}

fn put(out: &mut Text, byte: u8) {
    use core::fmt::Write;
    let byte = match byte {
        // The line's end is the log's.
        b'\n' | b'\r' => return,
        0x20..0x7F => byte,
        _ => b' ',
    };
    let _ = out.write_char(char::from(byte));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    /// Slots, and memory that "addresses" index.
    struct Slots {
        slots: Vec<u64>,
        next: usize,
        memory: Vec<u16>,
    }

    impl Arguments for Slots {
        fn slot(&mut self) -> u64 {
            self.next += 1;
            self.slots[self.next - 1]
        }
        fn narrow(&self, address: u64, index: usize) -> u8 {
            self.memory[address as usize + index] as u8
        }
        fn wide(&self, address: u64, index: usize) -> u16 {
            self.memory[address as usize + index]
        }
        fn counted(&self, address: u64) -> (u16, u64) {
            (self.memory[address as usize], 2)
        }
    }

    fn run(text: &str, slots: &[u64], memory: &str) -> (String, usize) {
        let mut arguments = Slots {
            slots: slots.to_vec(),
            next: 0,
            memory: memory.encode_utf16().collect(),
        };
        let mut out = Text::new();
        format(&mut out, text.bytes(), &mut arguments);
        (out.as_str().into(), arguments.next)
    }

    #[test]
    fn numbers_follow_their_size_and_width() {
        let high = 0xFFFF_FFFF_0000_0000;
        assert_eq!(
            run("%d %u", &[high | 0xFFFF_FFFE, high | 3], ""),
            ("-2 3".into(), 2)
        );
        assert_eq!(run("%lld", &[u64::MAX], "").0, "-1");
        assert_eq!(
            run("%08x|%X|%o", &[0xBEEF, 0xBEEF, 8], "").0,
            "0000beef|BEEF|10"
        );
        assert_eq!(
            run("%5d|%-5d|%05d", &[u64::MAX, 7, u64::MAX], "").0,
            "   -1|7    |000-1"
        );
        assert_eq!(run("%p", &[0xAB], "").0, "00000000000000AB");
        assert_eq!(run("%ld%lu", &[1, 2], "").0, "12");
    }

    #[test]
    fn text_pads_on_the_right_and_a_minus_pads_on_the_left() {
        let memory = "xx\u{2}ab\0";
        assert_eq!(run("[%4s][%-4s]", &[3, 3], memory).0, "[ab  ][  ab]");
        assert_eq!(run("%ws %c", &[3, 0x41], memory).0, "ab A");
        assert_eq!(run("%s %Z", &[0, 0], memory).0, "(null) (null)");
    }

    #[test]
    fn a_counted_string_is_read_for_its_length_and_no_further() {
        // At 0: four bytes at 2.
        assert_eq!(run("%Z", &[0x0], "\u{4}-abcdef").0, "(null)");
        assert_eq!(run("%Z.", &[1], "?\u{4}abcdef").0, "abcd.");
        assert_eq!(run("%wZ.", &[1], "?\u{4}abcdef").0, "ab.");
    }

    #[test]
    fn what_is_no_conversion_prints_itself_and_reads_nothing() {
        assert_eq!(run("100%% %k %", &[], ""), ("100% k ".into(), 0));
        assert_eq!(run("a\nb\tc\r\n", &[], "").0, "ab c");
    }

    #[test]
    fn an_endless_string_and_an_endless_width_are_cut_at_the_line() {
        let memory = "y".repeat(1000);
        assert_eq!(run("%s", &[0x1], &memory).0.len(), 255);
        assert_eq!(run("%255d%255d", &[1, 1], "").0.len(), 255);
        // The width is a byte: 256 is 0.
        assert_eq!(run("%256d", &[1], "").0, "1");
    }
}
