// SPDX-License-Identifier: BSD-2-Clause
//! The formatter: whatever the format says, it reads no argument that it does not name, nothing
//! behind a string's end, and ends.

use std::cell::Cell;

use xenbus::facade::printf::{self, Arguments, TEXT_MAX};

use crate::input::Input;

struct Fake<'a> {
    input: Input<'a>,
    text: &'a [u8],
    taken: usize,
    /// Most that was read of any string.
    furthest: Cell<usize>,
}

impl Arguments for Fake<'_> {
    fn slot(&mut self) -> u64 {
        self.taken += 1;
        u64::from(self.input.word()) | u64::from(self.input.word()) << 32
    }
    fn narrow(&self, _address: u64, index: usize) -> u8 {
        self.furthest.set(self.furthest.get().max(index + 1));
        assert!(index <= self.text.len(), "read behind the terminator");
        self.text.get(index).copied().unwrap_or(0)
    }
    fn wide(&self, address: u64, index: usize) -> u16 {
        u16::from(self.narrow(address, index))
    }
    fn counted(&self, address: u64) -> (u16, u64) {
        (u16::try_from(self.text.len()).unwrap_or(0), address | 1)
    }
}

pub(crate) fn format(data: &[u8]) {
    let mut input = Input::new(data);
    let len = usize::from(input.byte());
    let format = input.bytes(len);
    let length = usize::from(input.byte());
    let text = input.bytes(length);
    // A terminator inside is where the string ends.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut arguments = Fake {
        input,
        text,
        taken: 0,
        furthest: Cell::new(0),
    };
    let result = printf::format(format.iter().copied(), &mut arguments);
    // Each conversion takes a width, a precision and a value at most.
    let named = format.iter().filter(|byte| **byte == b'%').count() * 3;
    assert!(arguments.taken <= named, "{} arguments", arguments.taken);
    if let Ok(out) = result {
        assert!(out.len() <= TEXT_MAX);
        if !format.contains(&b'%') {
            assert_eq!(&out[..], format);
        }
    }
}
