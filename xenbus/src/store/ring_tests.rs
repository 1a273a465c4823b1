// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the byte rings, against a daemon's half written from the protocol text.
use super::*;
use crate::testing::page::{DaemonSide, TestPage};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn bytes_cross_the_end_of_the_ring_from_any_start_index() {
    for start in [0, 1, 1000, 1023, 1024, 0xFFFF_FFF0, u32::MAX] {
        let page = TestPage::starting_at(start, start);
        let mut producer = Producer::attach(&page).expect("sane");
        let message: Vec<u8> = (0..=255).collect();
        for _ in 0..8 {
            assert_eq!(producer.push(&page, &message), Ok(256), "start {start}");
            let _ = producer.publish(&page);
            assert_eq!(DaemonSide(&page).take_requests(1024), message);
        }
        let mut consumer = Consumer::attach(&page).expect("sane");
        for _ in 0..8 {
            DaemonSide(&page).put_responses(&message);
            let mut out = [0; 256];
            assert_eq!(consumer.pull(&page, &mut out), Ok(256));
            let _ = consumer.publish(&page);
            assert_eq!(out[..], message[..]);
        }
    }
}

#[test]
fn a_full_ring_takes_all_1024_bytes_and_not_one_more() {
    let page = TestPage::starting_at(0xFFFF_FE00, 0);
    let mut producer = Producer::attach(&page).expect("sane");
    assert_eq!(producer.push(&page, &[7; 1500]), Ok(1024));
    assert_eq!(producer.push(&page, &[7; 1]), Ok(0));
    let _ = producer.publish(&page);
    assert_eq!(DaemonSide(&page).take_requests(1).len(), 1);
    assert_eq!(producer.push(&page, &[8; 2]), Ok(1));
}

#[test]
fn nothing_is_visible_before_publish() {
    let page = TestPage::starting_at(0, 0);
    let mut producer = Producer::attach(&page).expect("sane");
    producer.push(&page, b"abc").expect("sane");
    assert_eq!(Control::load(&page).req_prod, 0);
    assert!(producer.publish(&page), "the daemon had caught up");
    assert_eq!(Control::load(&page).req_prod, 3);
}

#[test]
fn an_event_after_producing_is_needed_only_when_the_daemon_had_caught_up() {
    let page = TestPage::starting_at(u32::MAX, 0);
    let mut producer = Producer::attach(&page).expect("sane");
    producer.push(&page, b"first").expect("sane");
    assert!(producer.publish(&page));
    producer.push(&page, b"second").expect("sane");
    assert!(!producer.publish(&page), "still busy with the first");
    let _ = DaemonSide(&page).take_requests(1024);
    producer.push(&page, b"third").expect("sane");
    assert!(producer.publish(&page));
    assert!(!producer.publish(&page), "an empty batch needs no event");
}

#[test]
fn an_event_after_consuming_is_needed_only_when_the_ring_was_full() {
    let page = TestPage::starting_at(0, 0xFFFF_FFFF);
    let mut consumer = Consumer::attach(&page).expect("sane");
    DaemonSide(&page).put_responses(&[1; 1023]);
    assert_eq!(consumer.pull(&page, &mut [0; 10]), Ok(10));
    assert!(!consumer.publish(&page));
    DaemonSide(&page).put_responses(&[1; 11]);
    assert_eq!(consumer.pull(&page, &mut [0; 10]), Ok(10));
    assert!(consumer.publish(&page));
}

#[test]
fn impossible_indices_are_a_fault_at_attach_and_later() {
    let page = TestPage::starting_at(5, 5);
    page.set(REQ_CONS, 6);
    assert_eq!(
        Producer::attach(&page).err(),
        Some(Fault::RequestIndex { prod: 5, cons: 6 })
    );
    page.set(REQ_CONS, 5);
    let mut producer = Producer::attach(&page).expect("sane");
    page.set(REQ_CONS, 5u32.wrapping_sub(1025));
    assert!(producer.push(&page, b"x").is_err());

    let mut consumer = Consumer::attach(&page).expect("sane");
    page.set(RSP_PROD, 5 + 1025);
    assert!(consumer.pull(&page, &mut [0; 1]).is_err());
    assert!(consumer.available(&page).is_err());
}

#[test]
fn our_own_indices_are_never_read_back_from_the_page() {
    let page = TestPage::starting_at(0, 0);
    let mut producer = Producer::attach(&page).expect("sane");
    let mut consumer = Consumer::attach(&page).expect("sane");
    DaemonSide(&page).put_responses(b"xyz");
    page.set(REQ_PROD, 900);
    page.set(RSP_CONS, 900);
    producer.push(&page, b"abc").expect("our index is private");
    let _ = producer.publish(&page);
    let mut out = [0; 3];
    assert_eq!(consumer.pull(&page, &mut out), Ok(3));
    assert_eq!(&out, b"xyz");
    assert_eq!(Control::load(&page).req_prod, 3);
}

proptest! {
    #[test]
    fn any_mix_of_sizes_delivers_the_same_stream(
        start: u32,
        sizes in proptest::collection::vec((0usize..1500, 0usize..1500), 1..40),
    ) {
        let page = TestPage::starting_at(start, start);
        let mut producer = Producer::attach(&page).expect("sane");
        let mut consumer = Consumer::attach(&page).expect("sane");
        let (mut next, mut requests_seen, mut echoed, mut got) = (0u8, Vec::new(), Vec::new(), Vec::new());
        let mut sent = Vec::new();
        for (push, take) in sizes {
            let bytes: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
            let n = producer.push(&page, &bytes).expect("sane");
            next = next.wrapping_sub((push - n) as u8);
            sent.extend_from_slice(&bytes[..n]);
            let _ = producer.publish(&page);
            let taken = DaemonSide(&page).take_requests(take);
            let room = DaemonSide(&page).response_room().min(taken.len());
            DaemonSide(&page).put_responses(&taken[..room]);
            requests_seen.extend_from_slice(&taken);
            echoed.extend_from_slice(&taken[..room]);
            let mut out = std::vec![0; take];
            let n = consumer.pull(&page, &mut out).expect("sane");
            got.extend_from_slice(&out[..n]);
            let _ = consumer.publish(&page);
        }
        prop_assert!(sent.starts_with(&requests_seen));
        prop_assert!(echoed.starts_with(&got));
    }

    #[test]
    fn no_index_value_makes_the_rings_panic(words: [u32; 4], push in 0usize..2000) {
        let page = TestPage::starting_at(0, 0);
        for (i, w) in words.iter().enumerate() {
            page.set(i, *w);
        }
        if let Ok(mut producer) = Producer::attach(&page) {
            let _ = producer.push(&page, &std::vec![1; push]);
            let _ = producer.publish(&page);
        }
        if let Ok(mut consumer) = Consumer::attach(&page) {
            let _ = consumer.pull(&page, &mut std::vec![1; push]);
            let _ = consumer.publish(&page);
        }
    }
}
