// SPDX-License-Identifier: BSD-2-Clause
//! Tests of lists in parts.
use super::*;
use crate::store::wire::PAYLOAD_MAX;
use crate::testing::xenstored::part;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec as StdVec;

fn listing() -> Listing {
    Listing::new(Bytes::join(&[b"dir\0"]).expect("short"))
}

#[test]
fn parts_are_asked_for_by_the_length_of_what_came() {
    let mut list = listing();
    assert_eq!(&*list.ask().expect("short"), b"dir\x000\0");
    assert_eq!(list.add(b"5\0one\0two\0"), Ok(Part::More));
    assert_eq!(&*list.ask().expect("short"), b"dir\x008\0");
    assert_eq!(list.add(b"5\0x\0\0"), Ok(Part::Last));
    assert_eq!(&*list.into_names(), b"one\0two\0x\0");
}

#[test]
fn a_node_that_changes_is_listed_again_from_the_start_but_not_for_ever() {
    let mut list = listing();
    assert_eq!(list.add(b"1\0a\0"), Ok(Part::More));
    assert_eq!(
        list.add(b"2\0b\0\0"),
        Ok(Part::More),
        "of another generation"
    );
    assert_eq!(&*list.ask().expect("short"), b"dir\x000\0");
    assert_eq!(list.add(b"2\0c\0b\0\0"), Ok(Part::Last));
    assert_eq!(&*list.into_names(), b"c\0b\0");

    let mut list = listing();
    let mut asked = 0;
    let end = loop {
        asked += 1;
        let part = std::format!("{asked}\0a\0");
        match list.add(part.as_bytes()) {
            Ok(Part::More) if asked < 100 => {}
            other => break other,
        }
    };
    assert_eq!(end, Err(status::RETRY));
}

#[test]
fn an_endless_list_is_given_up() {
    let mut list = listing();
    let part = [&b"1\0"[..], &std::vec![b'n'; PAYLOAD_MAX - 3], b"\0"].concat();
    let parts = (0..1000).find(|_| list.add(&part).is_err());
    assert_eq!(parts, Some(NAMES_MAX / (PAYLOAD_MAX - 2)));
}

proptest! {
    #[test]
    fn any_names_come_whole_and_in_order(
        names in proptest::collection::vec("[a-z0-9]{1,40}", 0..800),
        change: Option<u8>,
    ) {
        let all: String = names.iter().map(|name| std::format!("{name}\0")).collect();
        let mut list = listing();
        let (mut generation, mut asked) = (1, 0);
        loop {
            let ask = list.ask().expect("short");
            let offset: usize = std::str::from_utf8(&ask[4..ask.len() - 1]).expect("digits").parse().expect("a number");
            if change == Some(asked) {
                generation = 2;
            }
            asked += 1;
            match list.add(&part(generation, all.as_bytes(), offset)) {
                Ok(Part::More) => {}
                Ok(Part::Last) => break,
                Err(status) => panic!("{status}"),
            }
        }
        prop_assert_eq!(&*list.into_names(), all.as_bytes());
    }

    #[test]
    fn any_bytes_as_parts_end(parts in proptest::collection::vec(any::<StdVec<u8>>(), 0..20)) {
        let mut list = listing();
        for part in &parts {
            let _ = list.add(part);
            prop_assert!(list.ask().is_ok());
        }
    }
}
