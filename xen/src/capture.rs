// SPDX-License-Identifier: BSD-2-Clause
//! Capture of what drivers print with DbgPrint: which prints are taken, and at which level.
//!
//! All PV drivers begin their prints with a lower-case `xen`; everything else is noise here. The callback
//! runs at the IRQL of whoever prints, inside the kernel's printing, so it only copies: a DPC writes.
//! xen.sys prints its own lines, and those of its importers, with a level that no other driver has, and
//! does not capture them: they are in the log already.
//!
//! # IRQL
//! Any.

use xenbus_interface::xen::LogLevel;

/// The component of independent hardware vendors, `DPFLTR_IHVDRIVER_ID`.
pub const COMPONENT: u32 = 77;
/// The level of our own prints: a mask of levels (being above 31) with bits that mark it.
pub const OWN: u32 = 0x5845_4E00 | LEVELS;
/// The levels that the filter lets pass: error, warning, trace, info.
const LEVELS: u32 = 0xF;

/// The text to take from one print; `None` if it is not for us.
pub fn text(print: &[u8], level: u32) -> Option<&[u8]> {
    if level == OWN || print.len() < 4 || !print.starts_with(b"xen") {
        return None;
    }
    let text = print.strip_suffix(b"\n").unwrap_or(print);
    Some(text.strip_suffix(b"\r").unwrap_or(text))
}

/// The log's level of a print: the kernel numbers levels from 0, and takes what is above 31 for a mask.
pub fn level(level: u32) -> u32 {
    match level {
        0..=3 => 1 << level,
        32.. if level & LEVELS != 0 => level & LEVELS,
        _ => LogLevel::Info as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prints_of_pv_drivers_are_taken_and_not_our_own() {
        assert_eq!(text(b"xenvif|up: 1\n", 3), Some(&b"xenvif|up: 1"[..]));
        assert_eq!(text(b"xenvbd: two\r\n", 0), Some(&b"xenvbd: two"[..]));
        assert_eq!(text(b"xen:\xff", 3), Some(&b"xen:\xff"[..]));
        for noise in [&b""[..], b"xen", b"Xen: upper", b"tcpip: x", b"\nxen1"] {
            assert_eq!(text(noise, 3), None);
        }
        assert_eq!(text(b"xenbus: ours\n", OWN), None);
    }

    #[test]
    fn any_level_number_has_a_level() {
        assert_eq!([0, 1, 2, 3].map(level), [1, 2, 4, 8]);
        assert_eq!([4, 31, 32, 0x1_0000].map(level), [8, 8, 8, 8]);
        assert_eq!(level(0x8000_0005), 5);
        assert_eq!(level(u32::MAX), 0xF);
    }
}
