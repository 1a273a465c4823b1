// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the formatter.
use super::*;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec as StdVec;

/// Arguments whose pointers are indices into a list of strings, plus one.
struct Fake {
    slots: StdVec<u64>,
    taken: usize,
    text: StdVec<StdVec<u16>>,
}

impl Arguments for Fake {
    fn slot(&mut self) -> u64 {
        self.taken += 1;
        self.slots[self.taken - 1]
    }
    fn narrow(&self, address: u64, index: usize) -> u8 {
        self.wide(address, index) as u8
    }
    fn wide(&self, address: u64, index: usize) -> u16 {
        self.text[address as usize - 1]
            .get(index)
            .copied()
            .unwrap_or(0)
    }
    fn counted(&self, address: u64) -> (u16, u64) {
        (self.text[address as usize - 1].len() as u16, address)
    }
}

fn run(text: &str, slots: &[u64], strings: &[&str]) -> Result<String> {
    let mut arguments = Fake {
        slots: slots.to_vec(),
        taken: 0,
        text: strings.iter().map(|s| s.encode_utf16().collect()).collect(),
    };
    let out = format(text.bytes(), &mut arguments)?;
    assert_eq!(arguments.taken, slots.len(), "each argument is read once");
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn conversions_that_drivers_use() {
    let junk = 0xDEAD_BEEF_0000_0000u64;
    for (text, slots, strings, expected) in [
        ("plain", &[][..], &[][..], "plain"),
        ("", &[], &[], ""),
        ("100%%", &[], &[], "100%"),
        ("%u", &[junk | 4], &[], "4"),
        ("%d", &[junk | 0xFFFF_FFFF], &[], "-1"),
        ("%i|%u", &[u64::MAX, u64::MAX], &[], "-1|4294967295"),
        ("%lu %ld", &[junk | 7, u64::MAX], &[], "7 -1"),
        ("%llu", &[u64::MAX], &[], "18446744073709551615"),
        ("%I64d %I64u", &[u64::MAX, 5], &[], "-1 5"),
        ("%I32u %Iu", &[junk | 1, 1 << 40], &[], "1 1099511627776"),
        (
            "%hu %hhu %hd",
            &[0x1_2345, 0x1_23, 0xFFFF],
            &[],
            "9029 35 -1",
        ),
        ("%zu %jd %td", &[1 << 33, 2, 3], &[], "8589934592 2 3"),
        (
            "%x %X %#x %#X %#x",
            &[255, 255, 255, 255, 0],
            &[],
            "ff FF 0xff 0XFF 0",
        ),
        ("%o %#o", &[8, 8], &[], "10 010"),
        (
            "%08x|%8x|%-8x|",
            &[0xAB, 0xAB, 0xAB],
            &[],
            "000000ab|      ab|ab      |",
        ),
        ("%04u.%02u", &[7, 123], &[], "0007.123"),
        ("%+d % d %+d", &[1, 1, 0xFFFF_FFFF], &[], "+1  1 -1"),
        ("%05d", &[0xFFFF_FFFE], &[], "-0002"),
        ("%.3d|%.0d|%5.3d", &[7, 0, 7], &[], "007||  007"),
        (
            "%*d|%-*d|%*d",
            &[4, 1, 4, 1, 0xFFFF_FFFC, 1],
            &[],
            "   1|1   |1   ",
        ),
        ("%.*s", &[2, 1], &["abc"], "ab"),
        ("%s/%s", &[1, 2], &["device", "vif"], "device/vif"),
        (
            "%10s|%-10s|%.2s",
            &[1, 1, 1],
            &["abc"],
            "       abc|abc       |ab",
        ),
        ("%s", &[0], &[], "(null)"),
        ("%c%c", &[junk | 65, 66], &[], "AB"),
        (
            "%S %ls %ws %hs",
            &[1, 1, 1, 1],
            &["wide"],
            "wide wide wide wide",
        ),
        ("%S", &[1], &["gr\u{fc}n"], "gr?n"),
        ("%Z|%.1Z", &[1, 1], &["counted"], "counted|c"),
        ("%p", &[0xFFFF_8000_1234_ABCD], &[], "FFFF80001234ABCD"),
    ] {
        assert_eq!(run(text, slots, strings).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn the_result_is_limited_to_1023_characters() {
    let fits: String = core::iter::repeat_n('x', 1023).collect();
    let over = fits.clone() + "x";
    assert_eq!(run("%s", &[1], &[&fits]).as_deref(), Ok(&*fits));
    for (text, slots, strings) in [
        ("%s", &[1][..], &[&*over][..]),
        (&*over, &[], &[]),
        ("%1024d", &[1], &[]),
        ("%.1024d", &[1], &[]),
        ("%2147483647d", &[1], &[]),
        ("%s%s", &[1, 1], &[&fits[..600]]),
    ] {
        assert_eq!(run(text, slots, strings), Err(status::INVALID_BUFFER_SIZE));
    }
}

#[test]
fn conversions_that_do_not_exist_are_refused_before_an_argument_is_read() {
    for text in ["%n", "%f", "%e", "%g", "%", "%-", "%5", "%y"] {
        assert_eq!(
            run(text, &[], &[]),
            Err(status::INVALID_PARAMETER),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_format_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'%'), Just(b'*'), Just(b'.'), Just(b'9'), any::<u8>()], 0..40), slots in proptest::collection::vec(0u64..3, 80)) {
        let mut arguments = Fake { slots, taken: 0, text: std::vec![std::vec![65; 5]; 3] };
        if let Ok(text) = format(bytes.iter().copied(), &mut arguments) {
            prop_assert!(text.len() <= TEXT_MAX);
        }
    }
}
