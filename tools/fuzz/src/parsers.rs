// SPDX-License-Identifier: BSD-2-Clause
//! The pure parsers: whatever they accept is within what they were given and says what it should.

use xenbus::store::bytes::Bytes;
use xenbus::store::connection::{GrantEntry, event_port, page_frame};
use xenbus::store::listing::{Listing, NAMES_MAX, Part, RESTARTS};
use xenbus::store::wire::{self, HEADER_LEN, Header};

use crate::input::Input;

pub(crate) fn replies(data: &[u8]) {
    let Some((head, payload)) = data.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    let header = Header::from_bytes(head);
    assert_eq!(header.to_bytes(), *head);
    let _ = wire::parse_error(payload);
    if let Ok(id) = wire::parse_tx_id(payload) {
        assert_ne!(id, 0);
        let digits = &payload[..payload.len() - 1];
        assert_eq!(wire::parse_u32(digits), Some(id));
    }
    for name in wire::names(payload) {
        assert!(!name.is_empty() && !name.contains(&0));
    }
}

pub(crate) fn listing(data: &[u8]) {
    if let Ok((generation, names, last)) = wire::parse_directory_part(data) {
        assert!(generation.iter().all(u8::is_ascii_digit));
        assert!(last || !names.is_empty(), "a part without progress");
        assert!(names.is_empty() || names.ends_with(b"\0"));
        assert!(!names.windows(2).any(|pair| pair == b"\0\0"));
    }
    let mut input = Input::new(data);
    let mut list = Listing::new(Bytes::join(&[b"dir\0"]).expect("short"));
    let mut parts = 0u32;
    while !input.is_empty() {
        let len = usize::from(input.byte());
        match list.add(input.bytes(len)) {
            Ok(Part::More) => {
                let ask = list.ask().expect("within bounds");
                assert!(ask.starts_with(b"dir\0") && ask.ends_with(b"\0"));
            }
            Ok(Part::Last) | Err(_) => break,
        }
        parts += 1;
    }
    assert!(parts < u32::from(RESTARTS) * 4096);
    assert!(list.into_names().len() <= NAMES_MAX);
}

pub(crate) fn permissions(data: &[u8]) {
    let read: Result<Vec<_>, _> = wire::permissions(data).collect();
    if let Ok(entries) = read {
        // The text of what was read reads the same.
        let mut text = Vec::new();
        for entry in &entries {
            text.extend_from_slice(&entry.text().expect("a mask"));
        }
        let again: Result<Vec<_>, _> = wire::permissions(&text).collect();
        assert_eq!(again, Ok(entries));
    }
}

pub(crate) fn watch_event(data: &[u8]) {
    if let Some((path, token)) = wire::parse_watch_event(data) {
        assert_eq!([path, b"\0", token, b"\0"].concat(), data);
        if let Some((slot, generation)) = wire::parse_token(token) {
            assert_eq!(wire::token(slot, generation), token);
        }
    }
    let _ = wire::watch_token(data);
}

pub(crate) fn grant_entry(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let (low, high) = (u64::from(input.word()), u64::from(input.word()));
    let parameter = match kind & 1 {
        0 => Ok(low | high << 32),
        _ => Err(kexec::Status::INVALID_PARAMETER),
    };
    let entry = (kind & 2 == 0).then(|| GrantEntry {
        flags: (input.word() & 0xFFFF) as u16,
        domain: (input.word() & 0xFFFF) as u16,
        frame: input.word(),
    });
    if let Ok(frame) = page_frame(entry, parameter) {
        assert!(frame != 0 && frame >> 40 == 0);
        let granted = entry.is_some_and(|e| e.flags & 3 == 1 && u64::from(e.frame) == frame);
        assert!(granted || parameter == Ok(frame));
    }
    if let Ok(port) = event_port(parameter) {
        assert_eq!(parameter, Ok(u64::from(port)));
    }
}
