// SPDX-License-Identifier: BSD-2-Clause
//! Tests of message framing.
use super::*;
use crate::store::wire::Kind;
use crate::testing::page::{DaemonSide, TestPage};
use proptest::prelude::*;
use std::vec::Vec;

fn header(len: usize) -> Header {
    Header {
        kind: Kind::READ,
        req_id: 0x1234_5678,
        tx_id: 9,
        len: len as u32,
    }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_message_four_times_the_ring_streams_through_it_in_both_directions() {
    for len in [0, 1, 1008, 1024, 4095, 4096] {
        let page = TestPage::starting_at(0xFFFF_FFF8, 0xFFFF_FFF8);
        let body = payload(len);
        let head = header(len).to_bytes();

        let mut sender = Sender::attach(&page).expect("sane");
        let mut seen = Vec::new();
        while !sender.push(&page, &head, &body).expect("sane") {
            assert!(sender.mid_message());
            let _ = sender.publish(&page);
            seen.extend(DaemonSide(&page).take_requests(333));
        }
        let _ = sender.publish(&page);
        seen.extend(DaemonSide(&page).take_requests(usize::MAX));
        assert_eq!(seen, [&head[..], &body[..]].concat(), "len {len}");
        assert!(!sender.mid_message());

        let mut receiver = Receiver::try_attach(&page).expect("sane");
        let mut rest = &seen[..];
        let got = loop {
            let room = DaemonSide(&page).response_room().min(rest.len()).min(777);
            DaemonSide(&page).put_responses(&rest[..room]);
            rest = &rest[room..];
            match receiver.next(&page).expect("sane") {
                Some(got) => break got,
                None => {
                    let _ = receiver.publish(&page);
                }
            }
        };
        assert_eq!(got, header(len));
        assert_eq!(receiver.payload(), body);
    }
}

#[test]
fn a_single_byte_at_a_time_still_makes_a_message() {
    let page = TestPage::starting_at(0, 1020);
    let mut receiver = Receiver::try_attach(&page).expect("sane");
    let body = payload(40);
    let stream = [&header(40).to_bytes()[..], &body].concat();
    for (i, byte) in stream.iter().enumerate() {
        DaemonSide(&page).put_responses(&[*byte]);
        let got = receiver.next(&page).expect("sane");
        let _ = receiver.publish(&page);
        assert_eq!(got.is_some(), i + 1 == stream.len());
        assert_eq!(receiver.mid_message(), i + 1 != stream.len());
    }
    assert_eq!(receiver.payload(), body);
}

#[test]
fn a_payload_of_4096_is_legal_and_4097_is_a_fault_before_any_copy() {
    for len in [4097u32, 0x1_0000, u32::MAX] {
        let page = TestPage::starting_at(0, 0);
        let mut receiver = Receiver::try_attach(&page).expect("sane");
        let head = Header { len, ..header(0) };
        DaemonSide(&page).put_responses(&head.to_bytes());
        DaemonSide(&page).put_responses(&[0x55; 100]);
        assert_eq!(receiver.next(&page), Err(Fault::PayloadTooLong { len }));
    }
}

proptest! {
    #[test]
    fn random_response_bytes_never_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..20)) {
        let page = TestPage::starting_at(0, 77);
        let mut receiver = Receiver::try_attach(&page).expect("sane");
        for chunk in chunks {
            let room = DaemonSide(&page).response_room().min(chunk.len());
            DaemonSide(&page).put_responses(&chunk[..room]);
            while let Ok(Some(header)) = receiver.next(&page) {
                prop_assert_eq!(header.len as usize, receiver.payload().len());
            }
            let _ = receiver.publish(&page);
        }
    }
}
