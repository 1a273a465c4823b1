// SPDX-License-Identifier: BSD-2-Clause
//! A lying, broken or silent daemon: one test for each way in which it can misbehave.
//!
//! | hazard | test; of this file unless it names another |
//! |---|---|
//! | length over 4096 | `a_length_over_4096_kills_the_connection_before_a_copy` |
//! | length of 4096 | `a_length_of_exactly_4096_is_served` |
//! | ERROR of length 0 | `an_error_without_a_name_is_a_protocol_error_of_that_request` |
//! | WATCH_EVENT of length 0 | `a_watch_event_without_payload_is_dropped_and_counted` |
//! | TRANSACTION_START of length 0, id 0 or junk | `a_transaction_start_without_or_with_a_junk_id_is_a_protocol_error` |
//! | watch path without a NUL, no token | `a_watch_event_without_a_nul_or_token_is_dropped` |
//! | watch event for nobody | `an_event_for_a_watch_that_is_gone_or_never_was_is_dropped` |
//! | unknown type | `an_unknown_type_fails_the_request_that_it_answers_and_is_else_dropped` |
//! | type that others ignore | `no_type_is_ignored_when_it_answers_a_request` |
//! | reply of another type | `a_reply_of_another_type_than_the_request_is_a_protocol_error` |
//! | reply of another transaction | `a_reply_with_another_transaction_id_is_a_protocol_error` |
//! | reply twice, to nothing, to half a request | `a_second_reply_and_a_reply_to_nothing_are_dropped`, `a_reply_to_a_request_that_is_only_half_sent_is_dropped` |
//! | `rsp_prod - rsp_cons` over 1024 | `impossible_response_indices_kill_the_connection` |
//! | `req_prod - req_cons` over 1024 | `impossible_request_indices_kill_the_connection` |
//! | our own indices changed | `our_own_indices_changed_by_the_peer_are_ignored`; all four zero: `service_tests::a_domain_that_is_introduced_anew_goes_on_with_its_watches` |
//! | value with embedded NULs | `a_value_with_embedded_nuls_keeps_its_length` |
//! | reply that never comes | `a_reply_that_never_comes_is_waited_for_with_a_bound_and_without_spinning`, `facade::store::tests::a_call_at_dispatch_level_to_a_dead_daemon_is_bounded`, `service_tests::requests_without_a_reply_are_logged_once_a_period_however_many` |
//! | event storm | `engine::tests::ten_thousand_events_are_one_dirty_flag_and_bounded_turns` |
//! | endless stream of events | `an_endless_stream_of_events_is_taken_one_ring_at_a_time` |
//! | kernel address in a token | `nothing_of_the_kernel_is_in_a_token` |
//! | list in parts that never ends or changes for ever | `listing::tests` |
//! | fatal fault, with and without reconnection | `a_fault_with_the_reconnection_feature_rebuilds_the_connection_and_its_watches`, `a_reconnection_that_never_ends_is_given_up`, `service_tests::a_connection_that_is_down_comes_back_when_the_domain_is_introduced` |
//! | anything at any time | `any_bytes_from_the_daemon_settle_or_are_dropped`, `any_control_words_at_any_time_never_panic`; fuzz target `store-engine` |
use super::bytes::Bytes;
use super::client::Call;
use super::engine::Turn;
use super::shared::Policy;
use super::wire::{HEADER_LEN, Header, Kind, Path};
use crate::status;
use crate::testing::page::{DaemonSide, TestPage};
use crate::testing::rig::{StoreRig, poll_once};
use crate::testing::xenstored::{Xenstored, message};
use core::pin::pin;
use core::task::Poll;
use kexec::{Duration, Result};
use proptest::prelude::*;
use std::vec::Vec;

const REQ_CONS: usize = 0;
const REQ_PROD: usize = 1;
const RSP_CONS: usize = 2;
const RSP_PROD: usize = 3;
const FEATURES: usize = 4;
const CONNECTION: usize = 5;
const ERROR: usize = 6;

fn path(text: &str) -> Path<'_> {
    Path::plain(text.as_bytes()).expect("short")
}

fn rig() -> StoreRig {
    StoreRig::new(Xenstored::with(&[("name", "guest")]))
}

fn count(rig: &StoreRig, name: &str) -> u64 {
    let mut value = 0;
    rig.shared
        .counters
        .each(|n, v| value += if n == name { v } else { 0 });
    value
}

/// Starts a read and takes it off the ring; its header.
fn asked(rig: &mut StoreRig) -> (Call<Bytes>, Header) {
    let call = rig.client.read(None, path("name"));
    let header = take_request(rig);
    (call, header)
}

fn take_request(rig: &mut StoreRig) -> Header {
    rig.turn();
    let bytes = DaemonSide(&*rig.port.page).take_requests(usize::MAX);
    let header = Header::from_bytes(bytes.first_chunk::<HEADER_LEN>().expect("a header"));
    assert_eq!(bytes.len(), HEADER_LEN + header.len as usize);
    header
}

fn say(rig: &mut StoreRig, bytes: &[u8]) {
    DaemonSide(&*rig.port.page).put_responses(bytes);
    while rig.turn() == Turn::Again {}
}

fn result<T>(call: &mut Call<T>) -> Option<Result<T>> {
    match poll_once(pin!(call)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// The connection goes on as if nothing had been.
fn still_works(rig: &mut StoreRig) {
    let call = rig.client.read(None, path("name"));
    assert_eq!(&*rig.run(call).expect("still served"), b"guest");
}

/// The connection is dead: what was asked fails, what is asked fails.
fn is_down(rig: &mut StoreRig, call: &mut Call<Bytes>) {
    assert_eq!(
        result(call).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );
    let mut next = rig.client.read(None, path("name"));
    rig.turn();
    assert_eq!(
        result(&mut next).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );
    assert_eq!(count(rig, "faults"), 1);
}

#[test]
fn a_length_over_4096_kills_the_connection_before_a_copy() {
    for len in [4097, 0x7FFF_FFFF, u32::MAX] {
        let mut rig = rig();
        let (mut call, header) = asked(&mut rig);
        say(&mut rig, &Header { len, ..header }.to_bytes());
        is_down(&mut rig, &mut call);
    }
}

#[test]
fn a_length_of_exactly_4096_is_served() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    let reply = message(Kind::READ, header.req_id, 0, &[b'x'; 4096]);
    for chunk in reply.chunks(1000) {
        say(&mut rig, chunk);
    }
    assert_eq!(
        result(&mut call).expect("settled").expect("served").len(),
        4096
    );
}

#[test]
fn an_error_without_a_name_is_a_protocol_error_of_that_request() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    say(&mut rig, &message(Kind::ERROR, header.req_id, 0, b""));
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::DEVICE_PROTOCOL_ERROR)
    );
    still_works(&mut rig);
}

#[test]
fn a_watch_event_without_payload_is_dropped_and_counted() {
    let mut rig = rig();
    say(&mut rig, &message(Kind::WATCH_EVENT, 0, 0, b""));
    assert_eq!(count(&rig, "spurious"), 1);
    still_works(&mut rig);
}

#[test]
fn a_watch_event_without_a_nul_or_token_is_dropped() {
    let mut rig = rig();
    let client = rig.client.clone();
    let watch = rig.run(client.watch(path("name"))).expect("registered");
    rig.settle();
    let fires = watch.node().fires();
    for payload in [
        &b"name"[..],
        b"name\0",
        b"name\0token",
        b"name\0token\0more\0",
        b"\0\0",
    ] {
        say(&mut rig, &message(Kind::WATCH_EVENT, 0, 0, payload));
    }
    assert_eq!(count(&rig, "spurious"), 5);
    assert_eq!(watch.node().fires(), fires);
    still_works(&mut rig);
}

#[test]
fn an_event_for_a_watch_that_is_gone_or_never_was_is_dropped() {
    let mut rig = rig();
    let client = rig.client.clone();
    let watch = rig.run(client.watch(path("name"))).expect("registered");
    let (slot, generation) = watch.node().token();
    let remove = watch.remove();
    rig.run(remove).expect("removed");
    let newer = rig.run(client.watch(path("name"))).expect("registered");
    assert_eq!(newer.node().token().0, slot, "the slot is used again");
    rig.settle();
    let fires = newer.node().fires();
    for token in [
        (slot, generation),
        (slot, 0),
        (9999, generation),
        (u32::MAX, u32::MAX),
    ] {
        let token = super::wire::token(token.0, token.1);
        let payload = [&b"name\0"[..], &token, b"\0"].concat();
        say(&mut rig, &message(Kind::WATCH_EVENT, 0, 0, &payload));
    }
    assert_eq!(newer.node().fires(), fires);
    assert_eq!(count(&rig, "spurious"), 4);
}

#[test]
fn a_transaction_start_without_or_with_a_junk_id_is_a_protocol_error() {
    for junk in [&b""[..], b"0\0", b"x\0", b"1", b"99999999999\0"] {
        let mut rig = rig();
        let client = rig.client.clone();
        let mut start = pin!(client.start_transaction());
        assert!(poll_once(start.as_mut()).is_pending());
        let header = take_request(&mut rig);
        say(
            &mut rig,
            &message(Kind::TRANSACTION_START, header.req_id, 0, junk),
        );
        let Poll::Ready(Err(status)) = poll_once(start.as_mut()) else {
            panic!("{junk:?} was accepted");
        };
        assert_eq!(status, status::DEVICE_PROTOCOL_ERROR);
        still_works(&mut rig);
    }
}

#[test]
fn an_unknown_type_fails_the_request_that_it_answers_and_is_else_dropped() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    for kind in [20, 27, 65535, u32::MAX] {
        say(
            &mut rig,
            &message(Kind(kind), header.req_id ^ 0x100, 0, b"?"),
        );
    }
    assert!(result(&mut call).is_none());
    say(&mut rig, &message(Kind(65535), header.req_id, 0, b"?"));
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::DEVICE_PROTOCOL_ERROR)
    );
    assert_eq!(count(&rig, "spurious"), 4);
    still_works(&mut rig);
}

#[test]
fn no_type_is_ignored_when_it_answers_a_request() {
    for kind in [0, 3, 8, 9, 10, 12, 17, 18, 19, 20] {
        let mut rig = rig();
        let (mut call, header) = asked(&mut rig);
        say(&mut rig, &message(Kind(kind), header.req_id, 0, b"OK\0"));
        assert_eq!(
            result(&mut call)
                .expect("the requester does not hang")
                .err(),
            Some(status::DEVICE_PROTOCOL_ERROR)
        );
    }
}

#[test]
fn a_reply_of_another_type_than_the_request_is_a_protocol_error() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    say(
        &mut rig,
        &message(Kind::DIRECTORY, header.req_id, 0, b"a\0"),
    );
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::DEVICE_PROTOCOL_ERROR)
    );
    still_works(&mut rig);
}

#[test]
fn a_reply_with_another_transaction_id_is_a_protocol_error() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    say(&mut rig, &message(Kind::READ, header.req_id, 7, b"x"));
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::DEVICE_PROTOCOL_ERROR)
    );
}

#[test]
fn an_acknowledgement_that_does_not_say_ok_is_a_protocol_error() {
    let mut rig = rig();
    let mut call = rig.client.write(None, path("k"), b"v");
    let header = take_request(&mut rig);
    say(&mut rig, &message(Kind::WRITE, header.req_id, 0, b""));
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::DEVICE_PROTOCOL_ERROR)
    );
}

#[test]
fn a_second_reply_and_a_reply_to_nothing_are_dropped() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    say(&mut rig, &message(Kind::READ, header.req_id, 0, b"first"));
    say(&mut rig, &message(Kind::READ, header.req_id, 0, b"second"));
    say(&mut rig, &message(Kind::READ, 0xDEAD_BEEF, 0, b"third"));
    assert_eq!(
        &*result(&mut call).expect("settled").expect("served"),
        b"first"
    );
    assert_eq!(count(&rig, "spurious"), 2);
    still_works(&mut rig);
}

#[test]
fn a_reply_to_a_request_that_is_only_half_sent_is_dropped() {
    let mut rig = rig();
    let mut call = rig.client.write(None, path("k"), &[b'v'; 3000]);
    rig.turn();
    let half = DaemonSide(&*rig.port.page).take_requests(100);
    let header = Header::from_bytes(half.first_chunk::<HEADER_LEN>().expect("a header"));
    say(&mut rig, &message(Kind::WRITE, header.req_id, 0, b"OK\0"));
    assert!(result(&mut call).is_none());
    assert_eq!(count(&rig, "spurious"), 1);
    // The rest still goes out, all of it.
    let mut rest = half.len();
    while rest < HEADER_LEN + header.len as usize {
        rest += DaemonSide(&*rig.port.page).take_requests(usize::MAX).len();
        rig.turn();
    }
    say(&mut rig, &message(Kind::WRITE, header.req_id, 0, b"OK\0"));
    assert_eq!(result(&mut call), Some(Ok(())));
}

#[test]
fn impossible_response_indices_kill_the_connection() {
    for prod in [1025u32, 0x8000_0000, u32::MAX] {
        let mut rig = rig();
        let (mut call, _) = asked(&mut rig);
        rig.port.page.set(RSP_PROD, prod);
        rig.turn();
        is_down(&mut rig, &mut call);
    }
}

#[test]
fn impossible_request_indices_kill_the_connection() {
    let mut rig = rig();
    let (mut call, _) = asked(&mut rig);
    rig.port.page.set(REQ_CONS, 0x8000_0000);
    let _second = rig.client.read(None, path("name"));
    rig.turn();
    is_down(&mut rig, &mut call);
}

#[test]
fn our_own_indices_changed_by_the_peer_are_ignored() {
    let mut rig = rig();
    rig.port.page.set(REQ_PROD, 777);
    rig.port.page.set(RSP_CONS, 777);
    let (mut call, header) = {
        let call = rig.client.read(None, path("name"));
        rig.turn();
        let bytes = DaemonSide(&*rig.port.page).take_requests(usize::MAX);
        (
            call,
            Header::from_bytes(bytes.first_chunk().expect("a header")),
        )
    };
    rig.port.page.set(RSP_CONS, 0);
    say(&mut rig, &message(Kind::READ, header.req_id, 0, b"x"));
    assert_eq!(&*result(&mut call).expect("settled").expect("served"), b"x");
}

#[test]
fn a_value_with_embedded_nuls_keeps_its_length() {
    let mut rig = rig();
    let (mut call, header) = asked(&mut rig);
    say(
        &mut rig,
        &message(Kind::READ, header.req_id, 0, b"a\0b\0\0"),
    );
    assert_eq!(
        &*result(&mut call).expect("settled").expect("served"),
        b"a\0b\0\0"
    );
}

#[test]
fn a_reply_that_never_comes_is_waited_for_with_a_bound_and_without_spinning() {
    let mut rig = rig();
    let (mut call, _) = asked(&mut rig);
    for _ in 0..29 {
        assert_eq!(
            rig.pass(Duration::from_secs(1)),
            Turn::Wait(Some(Duration::from_secs(1)))
        );
        assert!(result(&mut call).is_none());
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::IO_TIMEOUT)
    );
}

#[test]
fn an_endless_stream_of_events_is_taken_one_ring_at_a_time() {
    let mut rig = rig();
    let event = message(Kind::WATCH_EVENT, 0, 0, b"a\0b\0");
    let mut before = 0;
    for _ in 0..100 {
        while DaemonSide(&*rig.port.page).response_room() >= event.len() {
            DaemonSide(&*rig.port.page).put_responses(&event);
        }
        rig.turn();
        let now = count(&rig, "bytes_in");
        assert!(now - before <= 1024 + 4096, "bounded work in a turn");
        before = now;
    }
    assert!(count(&rig, "spurious") > 1000);
}

#[test]
fn nothing_of_the_kernel_is_in_a_token() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = pin!(client.watch(path("name")));
    assert!(poll_once(watch.as_mut()).is_pending());
    rig.turn();
    let bytes = DaemonSide(&*rig.port.page).take_requests(usize::MAX);
    // Slot 0 of the table, first generation after the seed.
    assert_eq!(&bytes[HEADER_LEN..], b"name\x000000000000000008\0");
}

#[test]
fn the_error_word_is_only_a_diagnostic() {
    let mut rig = rig();
    rig.port.page.set(ERROR, 3);
    still_works(&mut rig);
}

#[test]
fn a_fault_with_the_reconnection_feature_rebuilds_the_connection_and_its_watches() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("name"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    let tx = rig.run(client.start_transaction()).expect("open");
    rig.port.page.set(FEATURES, 1);
    let (mut call, header) = asked(&mut rig);
    let events = rig.events();
    say(
        &mut rig,
        &Header {
            len: 5000,
            ..header
        }
        .to_bytes(),
    );
    assert_eq!(
        result(&mut call).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );
    assert_eq!(rig.events(), events + 1, "the daemon is asked to reconnect");
    let mut early = rig.client.read(None, path("name"));
    assert_eq!(
        result(&mut early).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );

    // The daemon forgets everything and starts somewhere else.
    rig.daemon = Xenstored::with(&[("name", "guest")]);
    rig.port.page.reset(500, 60);
    rig.port.page.set(CONNECTION, 0);
    rig.settle();
    still_works(&mut rig);
    assert_eq!(rig.daemon.watch_count(), 1, "registered again");
    rig.run(watch.changed()).expect("anything may have changed");
    assert_eq!(rig.run(tx.commit()).err(), Some(status::RETRY));
    drop(watch);
    rig.settle();
    assert_eq!(rig.daemon.watch_count(), 0);
}

#[test]
fn a_reconnection_that_never_ends_is_given_up() {
    let mut rig = rig();
    rig.port.page.set(FEATURES, 1);
    let (mut call, header) = asked(&mut rig);
    say(
        &mut rig,
        &Header {
            len: 5000,
            ..header
        }
        .to_bytes(),
    );
    assert!(matches!(rig.turn(), Turn::Wait(Some(_))));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.turn(), Turn::Wait(None));
    is_down(&mut rig, &mut call);
    rig.shared.stop();
    assert_eq!(rig.turn(), Turn::Stopped);
}

#[test]
fn replies_left_by_a_predecessor_are_spurious() {
    let page = TestPage::starting_at(0, 0);
    DaemonSide(&page).put_responses(&message(Kind::READ, 1, 0, b"left over"));
    let mut rig = StoreRig::with(
        Xenstored::with(&[("name", "guest")]),
        Policy::default(),
        page,
    );
    still_works(&mut rig);
    assert_eq!(count(&rig, "spurious"), 1);
}

fn stops(rig: &mut StoreRig) -> bool {
    rig.shared.stop();
    rig.turn() == Turn::Stopped || rig.pass(Duration::from_secs(3)) == Turn::Stopped
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_from_the_daemon_settle_or_are_dropped(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 1..12),
        noise: Vec<(u8, u8, bool)>,
    ) {
        let mut rig = rig();
        let client = rig.client.clone();
        let mut calls: Vec<_> = (0..20).map(|_| client.read(None, path("name"))).collect();
        let watch = client.watch_for(path("name"), super::watch::Target::Future).expect("memory");
        rig.turn();
        // Headers that look right but for a byte or two.
        for (slot, kind, error) in noise {
            let header = Header {
                kind: if error { Kind::ERROR } else { Kind(u32::from(kind % 24)) },
                req_id: u32::from(slot) | 0xFFF_FFF0,
                tx_id: 0,
                len: u32::from(slot % 5),
            };
            if DaemonSide(&*rig.port.page).response_room() > 64 {
                say(&mut rig, &[&header.to_bytes()[..], &std::vec![b'E'; usize::from(slot % 5)]].concat());
            }
        }
        for chunk in chunks {
            let room = DaemonSide(&*rig.port.page).response_room().min(chunk.len());
            say(&mut rig, &chunk[..room]);
        }
        rig.pass(Duration::from_secs(31));
        for call in &mut calls {
            prop_assert!(result(call).is_some());
        }
        drop(watch);
        prop_assert!(stops(&mut rig));
        prop_assert!(rig.shared.queue.is_empty());
    }

    #[test]
    fn any_control_words_at_any_time_never_panic(words in proptest::collection::vec((0usize..7, any::<u32>()), 1..20)) {
        let mut rig = rig();
        let client = rig.client.clone();
        for (word, value) in words {
            let _call = client.write(None, path("k"), &[b'x'; 700]);
            rig.port.page.set(word, value);
            rig.turn();
            rig.pass(Duration::from_secs(1));
        }
        prop_assert!(stops(&mut rig));
    }
}
