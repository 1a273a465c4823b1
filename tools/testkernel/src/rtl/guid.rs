// SPDX-License-Identifier: BSD-2-Clause
//! GUIDs and their text form. Pure; any IRQL.

/// A GUID as it lies in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid {
    /// The first group.
    pub data1: u32,
    /// The second group.
    pub data2: u16,
    /// The third group.
    pub data3: u16,
    /// The fourth and fifth group.
    pub data4: [u8; 8],
}

/// Length of the text form, without a terminator.
pub const TEXT_LENGTH: usize = 38;

impl Guid {
    /// Makes a GUID from its groups.
    pub const fn new(data1: u32, data2: u16, data3: u16, data4: [u8; 8]) -> Self {
        Self {
            data1,
            data2,
            data3,
            data4,
        }
    }

    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.data1.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.data2.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.data3.to_be_bytes());
        bytes[8..].copy_from_slice(&self.data4);
        bytes
    }

    /// Writes `{8-4-4-4-12}` in upper-case digits.
    pub fn to_text(self) -> [u8; TEXT_LENGTH] {
        let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
        let mut text = [b'-'; TEXT_LENGTH];
        text[0] = b'{';
        text[TEXT_LENGTH - 1] = b'}';
        for (index, byte) in self.bytes().into_iter().enumerate() {
            text[position(index)] = digit(byte >> 4);
            text[position(index) + 1] = digit(byte);
        }
        text
    }

    /// Parses the text form.
    pub fn from_text(text: &[u16]) -> Option<Self> {
        if text.len() != TEXT_LENGTH {
            return None;
        }
        let fixed = [
            (0, b'{'),
            (9, b'-'),
            (14, b'-'),
            (19, b'-'),
            (24, b'-'),
            (37, b'}'),
        ];
        if fixed.iter().any(|(at, c)| text[*at] != u16::from(*c)) {
            return None;
        }
        let mut bytes = [0u8; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let nibble = |at: usize| char::from_u32(u32::from(text[at]))?.to_digit(16);
            let at = position(index);
            *byte = (nibble(at)? << 4 | nibble(at + 1)?) as u8;
        }
        let mut data4 = [0; 8];
        data4.copy_from_slice(&bytes[8..]);
        Some(Self {
            data1: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            data2: u16::from_be_bytes([bytes[4], bytes[5]]),
            data3: u16::from_be_bytes([bytes[6], bytes[7]]),
            data4,
        })
    }
}

fn position(byte: usize) -> usize {
    let dashes = match byte {
        0..4 => 0,
        4..6 => 1,
        6..8 => 2,
        8..10 => 3,
        _ => 4,
    };
    1 + 2 * byte + dashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_text_form_round_trips() {
        let guid = Guid::new(
            0x496B_8280,
            0x6F25,
            0x11D0,
            [0xBE, 0xAF, 8, 0, 0x2B, 0xE2, 9, 0x2F],
        );
        let text = guid.to_text();
        assert_eq!(&text, b"{496B8280-6F25-11D0-BEAF-08002BE2092F}");
        let units: Vec<u16> = text
            .iter()
            .map(|c| u16::from(c.to_ascii_lowercase()))
            .collect();
        assert_eq!(Guid::from_text(&units), Some(guid));
    }

    #[test]
    fn malformed_text_is_refused() {
        let mut units: Vec<u16> = b"{496B8280-6F25-11D0-BEAF-08002BE2092F}"
            .map(u16::from)
            .to_vec();
        assert!(Guid::from_text(&units[1..]).is_none());
        units[3] = u16::from(b'g');
        assert!(Guid::from_text(&units).is_none());
    }
}
