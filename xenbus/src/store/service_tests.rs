// SPDX-License-Identifier: BSD-2-Clause
//! What the store promises its callers under load and over time: turns, batches, long lists, a daemon
//! that comes and goes.
use super::Client;
use super::bytes::Bytes;
use super::client::Call;
use super::engine::{Turn, WINDOW};
use super::queue::DETACHED_LIMIT;
use super::shared::Policy;
use super::wire::{self, Kind, Path, Permission};
use crate::status;
use crate::testing::page::TestPage;
use crate::testing::rig::{StoreRig, poll_once};
use crate::testing::xenstored::Xenstored;
use core::pin::pin;
use core::task::Poll;
use kexec::Duration;
use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec::Vec;

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

fn ready<T>(call: &mut Call<T>) -> Option<kexec::Result<T>> {
    match poll_once(pin!(call)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// `total` reads with `outstanding` awaiting callers, against a daemon that answers `each` requests
/// whenever it runs.
fn reads(rig: &mut StoreRig, total: usize, outstanding: usize, each: usize) {
    rig.daemon.per_serve = each;
    let mut waiting: VecDeque<Call<Bytes>> = VecDeque::new();
    let (mut made, mut done) = (0, 0);
    while done < total {
        while waiting.len() < outstanding && made < total {
            waiting.push_back(rig.client.read(None, path("name")));
            made += 1;
        }
        rig.turn();
        rig.daemon.serve(&rig.port.page.clone());
        rig.turn();
        while let Some(result) = waiting.front_mut().and_then(ready) {
            assert_eq!(&*result.expect("served"), b"guest");
            waiting.pop_front();
            done += 1;
        }
    }
    rig.daemon.per_serve = 0;
}

#[test]
fn sixty_four_outstanding_reads_cost_a_fifth_of_an_event_each_at_most() {
    // A daemon that answers one by one, a few at once, and all that it finds.
    for each in [1, 3, 8, 0] {
        let mut rig = rig();
        reads(&mut rig, 2000, 64, each);
        let sends = rig.events();
        assert!(sends * 5 <= 2000, "{sends} events, {each} at a time");
        assert_eq!(count(&rig, "allocations"), 64, "one for each at a time");
    }
    let mut rig = rig();
    reads(&mut rig, 100, 1, 0);
    assert_eq!(rig.events(), 100, "at most one for a read alone");
}

#[test]
fn requests_that_the_daemon_passes_over_do_not_stop_the_others() {
    let mut rig = rig();
    rig.daemon.hold = true;
    let held: Vec<_> = (0..WINDOW - 1)
        .map(|_| rig.client.read(None, path("name")))
        .collect();
    rig.settle();
    rig.daemon.hold = false;
    reads(&mut rig, 200, 64, 0);
    assert_eq!(rig.in_flight(), WINDOW - 1);
    rig.daemon.release(true);
    rig.settle();
    for mut call in held {
        assert!(ready(&mut call).expect("released").is_ok());
    }
}

#[test]
fn any_number_of_awaiting_callers_is_served_and_none_refused() {
    let mut rig = rig();
    let mut calls: Vec<_> = (0..20_000)
        .map(|_| rig.client.read(None, path("name")))
        .collect();
    assert!(calls.iter().all(|call| call.refused().is_none()));
    rig.settle();
    for call in &mut calls {
        assert!(ready(call).expect("settled").is_ok());
    }
}

#[test]
fn a_caller_with_thousands_of_requests_keeps_another_waiting_for_one_window() {
    let mut rig = rig();
    let greedy = rig.client.clone().on_lane(1);
    let modest = rig.client.clone().on_lane(2);
    let flood: Vec<_> = (0..5000)
        .map(|_| greedy.write(None, path("k"), b"v"))
        .collect();
    rig.turn();
    let mut read = modest.read(None, path("name"));
    let before = rig.daemon.seen.len();
    while ready(&mut read).is_none() {
        rig.turn();
        rig.daemon.serve(&rig.port.page.clone());
    }
    // What was in flight, the window with the read, and the one behind it that the daemon has by now.
    let passed = rig.daemon.seen.len() - before;
    assert!(passed <= 3 * WINDOW, "{passed} requests came first");
    drop(flood);
}

#[test]
fn order_within_a_caller_holds_whatever_the_others_do() {
    let mut rig = rig();
    let lanes: [Client; 3] = [0, 1, 2].map(|lane| rig.client.clone().on_lane(lane));
    let calls: Vec<_> = (0..300)
        .map(|i| {
            let key = format!("k{}", i % 3);
            lanes[i % 3].write(None, path(&key), format!("{i}").as_bytes())
        })
        .collect();
    rig.settle();
    drop(calls);
    for (key, last) in [("k0", "297"), ("k1", "298"), ("k2", "299")] {
        assert_eq!(rig.daemon.get(key).as_deref(), Some(last));
    }
}

fn many(rig: &mut StoreRig, n: usize) -> String {
    for i in 0..n {
        rig.daemon.put(&format!("dir/child-{i:05}"), "");
    }
    (0..n).map(|i| format!("child-{i:05}\0")).collect()
}

#[test]
fn a_directory_longer_than_a_payload_comes_in_parts() {
    let mut rig = rig();
    let expected = many(&mut rig, 1500);
    assert!(expected.len() > 4 * 4096);
    let call = rig.client.directory(None, path("dir"));
    assert_eq!(&*rig.run(call).expect("listed"), expected.as_bytes());
    let parts = rig
        .daemon
        .seen
        .iter()
        .filter(|h| h.kind == Kind::DIRECTORY_PART);
    assert_eq!(parts.count(), expected.len().div_ceil(4096 - 14));
    // In a transaction as well.
    let client = rig.client.clone();
    let tx = rig.run(client.start_transaction()).expect("open");
    let listed = rig.run(client.directory(Some(&tx), path("dir")));
    assert_eq!(listed.expect("listed").len(), expected.len());
    rig.run(tx.abort()).expect("aborted");
}

#[test]
fn a_directory_that_changes_between_parts_is_listed_again() {
    let mut rig = rig();
    many(&mut rig, 800);
    let mut call = rig.client.directory(None, path("dir"));
    let mut changes = 0;
    let names = loop {
        if let Some(result) = ready(&mut call) {
            break result.expect("listed");
        }
        let asked = rig.daemon.seen.last().map(|h| h.kind);
        if asked == Some(Kind::DIRECTORY_PART) && changes < 3 {
            changes += 1;
            rig.daemon.put(&format!("dir/new-{changes}"), "");
        }
        rig.turn();
        rig.daemon.serve(&rig.port.page.clone());
    };
    assert_eq!(changes, 3);
    assert_eq!(wire::names(&names).count(), 803);
}

#[test]
fn a_daemon_without_parts_says_that_the_list_is_too_long() {
    let mut rig = rig();
    many(&mut rig, 800);
    rig.daemon.no_parts = true;
    let call = rig.client.directory(None, path("dir"));
    assert_eq!(rig.run(call).err(), Some(status::INVALID_BUFFER_SIZE));
}

#[test]
fn a_long_list_that_nobody_waits_for_any_more_is_not_asked_for() {
    let mut rig = rig();
    many(&mut rig, 800);
    let call = rig.client.directory(None, path("dir"));
    rig.turn();
    rig.daemon.serve(&rig.port.page.clone());
    drop(call);
    rig.settle();
    assert_eq!(rig.daemon.seen.len(), 1);
    assert_eq!(rig.in_flight(), 0);
}

#[test]
fn permissions_are_read_back_as_they_were_set() {
    let mut rig = rig();
    let client = rig.client.clone();
    let set: Vec<_> = (0..500)
        .map(|domain| Permission {
            domain,
            mask: u32::from(domain % 4),
        })
        .collect();
    rig.run(client.set_permissions(None, path("name"), &set))
        .expect("hundreds fit a payload");
    let text = rig
        .run(client.permissions(None, path("name")))
        .expect("there");
    let back: kexec::Result<Vec<_>> = wire::permissions(&text).collect();
    assert_eq!(back, Ok(set.clone()));
    let over = [set.clone(), set].concat();
    let refused = rig.run(client.set_permissions(None, path("name"), &over));
    assert_eq!(refused.err(), Some(status::INVALID_BUFFER_SIZE));
}

#[test]
fn requests_that_nobody_waits_for_are_bounded() {
    use super::queue::Admission;
    use super::request::Request;
    let mut rig = rig();
    let submit = |rig: &StoreRig| {
        let request = Request::try_new(Kind::WRITE, 0, 0, &[b"k\0v"]).expect("memory");
        rig.shared.submit(&request, Admission::Detached)
    };
    for _ in 0..DETACHED_LIMIT {
        submit(&rig).expect("room");
    }
    assert_eq!(submit(&rig), Err(status::INSUFFICIENT_RESOURCES));
    rig.settle();
    submit(&rig).expect("room again");
}

#[test]
fn requests_without_a_reply_are_logged_once_a_period_however_many() {
    let mut rig = rig();
    rig.daemon.dead = true;
    let calls: Vec<_> = (0..100)
        .map(|_| rig.client.read(None, path("name")))
        .collect();
    rig.turn();
    for _ in 0..49 {
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(count(&rig, "age_warnings"), 0, "not before five seconds");
    for _ in 0..201 {
        rig.pass(Duration::from_millis(100));
    }
    // At 5, 10, 15, 20 and 25 seconds.
    assert_eq!(count(&rig, "age_warnings"), 5);
    drop(calls);
}

#[test]
fn a_lost_event_is_made_up_for_within_a_second() {
    let mut rig = rig();
    let mut call = rig.client.read(None, path("name"));
    rig.turn();
    assert_eq!(rig.events(), 1);
    // The daemon did not get it; time passes.
    rig.pass(Duration::from_millis(999));
    assert_eq!(rig.events(), 1);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.events(), 2);
    assert_eq!(count(&rig, "fallback_sends"), 1);
    rig.settle();
    assert!(ready(&mut call).expect("answered").is_ok());
}

/// A daemon was restarted, and the toolstack introduces the domain to it: all indices become zero.
fn introduce(rig: &mut StoreRig) {
    rig.daemon = Xenstored::with(&[("name", "guest")]);
    rig.port.page.reset(0, 0);
}

#[test]
fn a_domain_that_is_introduced_anew_goes_on_with_its_watches() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("name"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    let tx = rig.run(client.start_transaction()).expect("open");
    let mut lost = client.read(None, path("name"));
    rig.turn();
    introduce(&mut rig);
    rig.settle();
    assert_eq!(
        ready(&mut lost).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );
    assert_eq!(count(&rig, "introductions"), 1);
    assert_eq!(rig.daemon.watch_count(), 1);
    rig.run(watch.changed()).expect("anything may have changed");
    let read = client.read(None, path("name"));
    assert_eq!(&*rig.run(read).expect("served again"), b"guest");
    assert_eq!(rig.run(tx.commit()).err(), Some(status::RETRY));
    drop(watch);
    rig.settle();
    assert_eq!(
        (rig.daemon.watch_count(), rig.daemon.transactions()),
        (0, 0)
    );
}

#[test]
fn an_idle_connection_with_a_watch_finds_out_about_an_introduction_by_itself() {
    let mut rig = rig();
    let client = rig.client.clone();
    assert_eq!(rig.turn(), Turn::Wait(None), "nothing to find out for");
    let mut watch = rig.run(client.watch(path("name"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    let idle = Policy::default().idle;
    assert_eq!(rig.turn(), Turn::Wait(Some(idle)));
    introduce(&mut rig);
    // Nobody asks for anything.
    rig.pass(idle);
    rig.settle();
    assert_eq!(rig.daemon.watch_count(), 1);
    rig.run(watch.changed()).expect("anything may have changed");
}

#[test]
fn a_connection_that_is_down_comes_back_when_the_domain_is_introduced() {
    let mut rig = rig();
    let client = rig.client.clone();
    let read = client.read(None, path("name"));
    rig.run(read).expect("served");
    rig.port.page.set(0, 0x8000_0000);
    let mut call = client.read(None, path("name"));
    rig.turn();
    assert_eq!(
        ready(&mut call).expect("settled").err(),
        Some(status::CONNECTION_DISCONNECTED)
    );
    let refused = client.read(None, path("name"));
    assert_eq!(refused.refused(), Some(status::CONNECTION_DISCONNECTED));
    introduce(&mut rig);
    rig.settle();
    let read = client.read(None, path("name"));
    assert_eq!(&*rig.run(read).expect("served again"), b"guest");
}

#[test]
fn indices_that_are_zero_by_wrapping_are_no_introduction() {
    let page = TestPage::starting_at(0u32.wrapping_sub(21), 0u32.wrapping_sub(21));
    let mut rig = StoreRig::with(
        Xenstored::with(&[("name", "guest")]),
        Policy::default(),
        page,
    );
    // Header and "name\0" are 21 bytes; so are header and "guest".
    let read = rig.client.read(None, path("name"));
    assert_eq!(&*rig.run(read).expect("served"), b"guest");
    assert!(matches!(rig.turn(), Turn::Wait(_)));
    assert_eq!(count(&rig, "introductions"), 0);
    let read = rig.client.read(None, path("name"));
    assert_eq!(&*rig.run(read).expect("served"), b"guest");
}

#[test]
fn a_block_used_again_carries_nothing_of_its_earlier_life() {
    let mut rig = rig();
    let client = rig.client.clone();
    let long = [b'v'; 2000];
    for _ in 0..3 {
        rig.run(client.write(None, path("long"), &long))
            .expect("written");
        assert_eq!(
            &*rig.run(client.read(None, path("long"))).expect("there"),
            long
        );
        assert_eq!(
            rig.run(client.read(None, path("none"))).err(),
            Some(status::OBJECT_NAME_NOT_FOUND)
        );
        // Sent, and queued, when nobody waits any more.
        let sent = client.write(None, path("sent"), b"1");
        rig.turn();
        drop((sent, client.read(None, path("name"))));
        rig.settle();
        client.write(None, path("detached"), b"2").detach();
        drop(rig.run(client.start_transaction()).expect("open"));
        drop(rig.run(client.watch(path("long"))).expect("registered"));
        rig.settle();
        let value = rig.run(client.read(None, path("name"))).expect("there");
        assert_eq!(&*value, b"guest");
        let over = [0; 4097];
        assert_eq!(
            rig.run(client.write(None, path("k"), &over)).err(),
            Some(status::INVALID_BUFFER_SIZE)
        );
    }
    assert_eq!(rig.daemon.get("sent").as_deref(), Some("1"));
    assert_eq!(rig.daemon.get("detached").as_deref(), Some("2"));
    assert_eq!(
        (rig.daemon.transactions(), rig.daemon.watch_count()),
        (0, 0)
    );
    // Two blocks, and what is long: what is written and what is read, three times.
    assert_eq!(count(&rig, "allocations"), 2 + 3 * 2);
}

#[test]
fn a_block_whose_request_ran_out_of_time_waits_for_the_late_reply() {
    let mut rig = rig();
    rig.daemon.hold = true;
    let mut late = rig.client.read(None, path("name"));
    rig.settle();
    rig.pass(Duration::from_secs(30));
    assert_eq!(
        ready(&mut late).expect("settled").err(),
        Some(status::IO_TIMEOUT)
    );
    rig.daemon.hold = false;
    let client = rig.client.clone();
    rig.run(client.write(None, path("name"), b"other"))
        .expect("written");
    assert_eq!(
        count(&rig, "allocations"),
        2,
        "the first is still referred to"
    );
    rig.daemon.release(false);
    rig.settle();
    let both = [(); 2].map(|()| client.read(None, path("name")));
    for call in both {
        assert_eq!(&*rig.run(call).expect("there"), b"other");
    }
    assert_eq!(count(&rig, "allocations"), 2, "now it is not");
}
