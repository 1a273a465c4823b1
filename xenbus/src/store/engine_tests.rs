// SPDX-License-Identifier: BSD-2-Clause
//! The engine against a scripted daemon: ordinary traffic, windows, cancellation, time.
use super::*;
use crate::store::client::Call;
use crate::testing::page::TestPage;
use crate::testing::rig::{StoreRig, poll_once};
use crate::testing::xenstored::Xenstored;
use core::pin::pin;
use core::sync::atomic::Ordering;
use core::task::Poll;
use std::string::ToString;
use std::vec::Vec;

use super::super::wire::Path;

fn path(text: &str) -> Path<'_> {
    Path::plain(text.as_bytes()).expect("short")
}

fn rig() -> StoreRig {
    StoreRig::new(Xenstored::with(&[
        ("name", "guest"),
        ("device/vif/0/mac", "aa"),
    ]))
}

fn count(rig: &StoreRig, name: &str) -> u64 {
    let mut value = None;
    rig.shared.counters.each(|n, v| {
        if n == name {
            value = Some(v);
        }
    });
    value.expect("a counter of that name")
}

#[test]
fn one_read_costs_one_event_and_one_allocation() {
    let mut rig = rig();
    let call = rig.client.read(None, path("name"));
    assert_eq!(&*rig.run(call).expect("there"), b"guest");
    assert_eq!(rig.events(), 1);
    assert_eq!(count(&rig, "allocations"), 1);
    assert_eq!(count(&rig, "requests"), 1);
    assert_eq!(rig.in_flight(), 0);
}

#[test]
fn operations_do_what_they_say() {
    let mut rig = rig();
    let client = rig.client.clone();
    rig.run(client.write(None, path("data/x"), b"1\x002"))
        .expect("written");
    assert_eq!(rig.daemon.get("data/x").as_deref(), Some("1\x002"));
    let names = rig
        .run(client.directory(None, path("device")))
        .expect("there");
    assert_eq!(&*names, b"vif\0");
    let empty = rig
        .run(client.directory(None, path("name")))
        .expect("there");
    assert_eq!(&*empty, b"");
    rig.run(client.remove(None, path("device")))
        .expect("removed");
    assert_eq!(
        rig.run(client.read(None, path("device/vif/0/mac"))).err(),
        Some(status::OBJECT_NAME_NOT_FOUND)
    );
    rig.run(client.set_permissions(
        None,
        path("name"),
        &[wire::Permission { domain: 1, mask: 0 }],
    ))
    .expect("set");
    assert_eq!(
        rig.run(client.set_permissions(None, path("name"), &[]))
            .err(),
        Some(status::INVALID_PARAMETER)
    );
    rig.run(client.reset_watches()).expect("reset");
}

#[test]
fn payload_sizes_up_to_the_limit_pass_and_one_more_is_refused_unsent() {
    for len in [0, 1, 1007, 1008, 2000, 4094] {
        let mut rig = rig();
        let client = rig.client.clone();
        let value = std::vec![b'v'; len];
        rig.run(client.write(None, path("k"), &value))
            .expect("written");
        assert_eq!(
            &*rig.run(client.read(None, path("k"))).expect("there"),
            value
        );
    }
    let mut rig = rig();
    let client = rig.client.clone();
    let refused = rig.run(client.write(None, path("k"), &[0; 4095]));
    assert_eq!(refused.err(), Some(status::INVALID_BUFFER_SIZE));
    assert_eq!(count(&rig, "requests"), 0);
    assert_eq!(rig.events(), 0);
}

#[test]
fn a_window_of_sixteen_and_few_events_for_a_thousand_pipelined_reads() {
    let mut rig = rig();
    let mut calls: Vec<Call<_>> = (0..1000)
        .map(|_| rig.client.read(None, path("name")))
        .collect();
    rig.turn();
    assert_eq!(rig.in_flight(), WINDOW);
    assert_eq!(rig.shared.queue.len(), 1000 - WINDOW);
    rig.settle();
    for call in &mut calls {
        assert!(matches!(poll_once(pin!(call)), Poll::Ready(Ok(_))));
    }
    let events = rig.events();
    assert!(events <= 1000 / WINDOW + 1, "{events} events");
}

#[test]
fn replies_in_another_order_find_their_requests() {
    let mut rig = rig();
    for i in 0..10 {
        rig.daemon.put(&std::format!("k/{i}"), &i.to_string());
    }
    rig.daemon.hold = true;
    let mut calls: Vec<_> = (0..10)
        .map(|i| rig.client.read(None, path(&std::format!("k/{i}"))))
        .collect();
    rig.settle();
    rig.daemon.release(true);
    rig.settle();
    for (i, call) in calls.iter_mut().enumerate() {
        let Poll::Ready(Ok(value)) = poll_once(pin!(call)) else {
            panic!("reply {i} is missing");
        };
        assert_eq!(&*value, i.to_string().as_bytes());
    }
}

#[test]
fn submission_order_is_kept_on_the_ring() {
    let mut rig = rig();
    let calls: Vec<_> = (0..40)
        .map(|i| rig.client.write(None, path("k"), i.to_string().as_bytes()))
        .collect();
    rig.settle();
    drop(calls);
    assert_eq!(rig.daemon.get("k").as_deref(), Some("39"));
}

#[test]
fn indices_wrap_in_the_middle_of_headers_and_payloads() {
    for start in [0xFFFF_FF00, 0xFFFF_FFF8, u32::MAX, 1020] {
        let daemon = Xenstored::with(&[("name", "guest")]);
        let mut rig = StoreRig::with(
            daemon,
            Policy::default(),
            TestPage::starting_at(start, start),
        );
        let client = rig.client.clone();
        for _ in 0..50 {
            assert_eq!(
                &*rig.run(client.read(None, path("name"))).expect("there"),
                b"guest"
            );
        }
    }
}

#[test]
fn a_transaction_that_met_a_conflict_says_retry_and_is_gone() {
    let mut rig = rig();
    let client = rig.client.clone();
    let tx = rig.run(client.start_transaction()).expect("open");
    let _ = rig
        .run(client.read(Some(&tx), path("name")))
        .expect("there");
    rig.run(client.write(Some(&tx), path("name"), b"mine"))
        .expect("written");
    rig.daemon.put("name", "theirs");
    assert_eq!(rig.run(tx.commit()).err(), Some(status::RETRY));
    assert_eq!(rig.daemon.transactions(), 0);
    assert_eq!(rig.daemon.get("name").as_deref(), Some("theirs"));
    let tx = rig.run(client.start_transaction()).expect("open");
    rig.run(client.write(Some(&tx), path("name"), b"mine"))
        .expect("written");
    assert_eq!(
        rig.daemon.get("name").as_deref(),
        Some("theirs"),
        "isolated"
    );
    rig.run(tx.commit()).expect("no conflict");
    assert_eq!(rig.daemon.get("name").as_deref(), Some("mine"));
}

#[test]
fn a_dropped_transaction_is_aborted_at_whatever_point() {
    let mut rig = rig();
    let client = rig.client.clone();
    // Dropped when open.
    drop(rig.run(client.start_transaction()).expect("open"));
    rig.settle();
    assert_eq!(rig.daemon.transactions(), 0);
    // Dropped while START is queued: never sent.
    let before = rig.daemon.seen.len();
    {
        let start = pin!(client.start_transaction());
        assert!(poll_once(start).is_pending());
    }
    rig.settle();
    assert_eq!(rig.daemon.seen.len(), before);
    // Dropped while the reply is on its way.
    {
        let mut start = pin!(client.start_transaction());
        assert!(poll_once(start.as_mut()).is_pending());
        rig.daemon.hold = true;
        rig.settle();
        assert_eq!(rig.daemon.transactions(), 1);
    }
    rig.daemon.hold = false;
    rig.daemon.release(false);
    rig.settle();
    assert_eq!(rig.daemon.transactions(), 0);
    // Dropped after the reply came and before it was looked at.
    {
        let mut start = pin!(client.start_transaction());
        assert!(poll_once(start.as_mut()).is_pending());
        rig.settle();
        assert_eq!(rig.daemon.transactions(), 1);
    }
    rig.settle();
    assert_eq!(rig.daemon.transactions(), 0);
}

#[test]
fn operations_of_a_transaction_of_a_past_connection_fail_and_only_commit_says_retry() {
    let mut rig = rig();
    let client = rig.client.clone();
    let tx = rig.run(client.start_transaction()).expect("open");
    rig.shared.suspended();
    let read = rig.run(client.read(Some(&tx), path("name")));
    assert_eq!(read.err(), Some(status::UNSUCCESSFUL));
    let sent = rig.daemon.seen.len();
    assert_eq!(rig.run(tx.commit()).err(), Some(status::RETRY));
    assert_eq!(rig.daemon.seen.len(), sent, "the daemon is not asked");
}

#[test]
fn a_watch_fires_at_once_and_then_after_changes_and_not_after_removal() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("device"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    assert!(poll_once(pin!(watch.changed())).is_pending());
    rig.daemon.put("device/vif/1", "");
    rig.daemon.put("device/vif/2", "");
    rig.run(watch.changed()).expect("changed");
    rig.settle();
    rig.daemon.put("other", "");
    rig.settle();
    let node = watch.node().clone();
    let fires = node.fires();
    rig.daemon.hold = true;
    let remove = watch.remove();
    rig.daemon.put("device/vif/3", "");
    rig.settle();
    assert_eq!(node.fires(), fires, "silent from the moment of removal");
    rig.daemon.hold = false;
    rig.daemon.release(false);
    rig.run(remove).expect("removed");
    assert_eq!(rig.daemon.watch_count(), 0);
    assert_eq!(rig.shared.watches.live(), 0);
}

#[test]
fn a_dropped_watch_is_unregistered_at_whatever_point() {
    let mut rig = rig();
    let client = rig.client.clone();
    drop(rig.run(client.watch(path("device"))).expect("registered"));
    rig.settle();
    assert_eq!(rig.daemon.watch_count(), 0);
    {
        let mut watch = pin!(client.watch(path("device")));
        assert!(poll_once(watch.as_mut()).is_pending());
        rig.daemon.hold = true;
        rig.settle();
        assert_eq!(rig.daemon.watch_count(), 1);
    }
    rig.daemon.hold = false;
    rig.daemon.release(false);
    rig.settle();
    assert_eq!(rig.daemon.watch_count(), 0);
    assert_eq!(rig.shared.watches.live(), 0);
}

#[test]
fn ten_thousand_events_are_one_dirty_flag_and_bounded_turns() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("device"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    for _ in 0..10_000 {
        rig.daemon.put("device/vif/0/state", "4");
    }
    let mut turns = 0;
    while rig.daemon.serve(&rig.port.page.clone()) {
        rig.turn();
        turns += 1;
    }
    assert!(turns > 100, "one ring a turn at most: {turns}");
    rig.run(watch.changed()).expect("changed");
    assert!(poll_once(pin!(watch.changed())).is_pending());
}

#[test]
fn a_cancelled_request_is_unlinked_when_queued_and_ignored_when_sent() {
    let mut rig = rig();
    let client = rig.client.clone();
    let queued = client.write(None, path("never"), b"x");
    drop(queued);
    rig.settle();
    assert_eq!(rig.daemon.get("never"), None);
    let sent = client.write(None, path("sent"), b"x");
    rig.turn();
    drop(sent);
    rig.settle();
    assert_eq!(rig.daemon.get("sent").as_deref(), Some("x"));
    assert_eq!(rig.in_flight(), 0);
    assert_eq!(count(&rig, "spurious"), 0);
}

#[test]
fn a_half_written_request_is_finished_even_if_nobody_waits() {
    let mut rig = rig();
    let client = rig.client.clone();
    let long = client.write(None, path("long"), &[b'x'; 3000]);
    rig.turn();
    drop(long);
    rig.settle();
    assert_eq!(rig.daemon.get("long").map(|v| v.len()), Some(3000));
    let read = rig.run(client.read(None, path("name")));
    assert_eq!(&*read.expect("the stream is whole"), b"guest");
}

#[test]
fn a_lost_notification_is_repeated_within_a_second() {
    let mut rig = rig();
    let mut read = pin!(rig.client.read(None, path("name")));
    rig.turn();
    assert_eq!(rig.events(), 1);
    assert_eq!(
        rig.pass(Duration::from_millis(999)),
        Turn::Wait(Some(Duration::from_millis(1)))
    );
    assert_eq!(rig.events(), 1);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.events(), 2);
    assert_eq!(count(&rig, "fallback_sends"), 1);
    rig.settle();
    assert!(poll_once(read.as_mut()).is_ready());
}

#[test]
fn an_idle_connection_asks_for_no_timer() {
    let mut rig = rig();
    assert_eq!(rig.turn(), Turn::Wait(None));
    assert_eq!(rig.pass(Duration::from_secs(100)), Turn::Wait(None));
    assert_eq!(rig.events(), 0);
}

#[test]
fn a_dead_daemon_fails_requests_after_the_policy_time_and_not_before() {
    let mut rig = rig();
    let client = rig.client.clone();
    rig.daemon.dead = true;
    let mut calls: Vec<_> = (0..40).map(|_| client.read(None, path("name"))).collect();
    rig.turn();
    rig.pass(Duration::from_millis(29_999));
    for call in &mut calls {
        assert!(poll_once(pin!(call)).is_pending());
    }
    rig.pass(Duration::from_millis(1));
    for call in &mut calls {
        let Poll::Ready(Err(status)) = poll_once(pin!(call)) else {
            panic!("still waiting");
        };
        assert_eq!(status, status::IO_TIMEOUT);
    }
    assert_eq!(count(&rig, "timeouts"), 40);
    // Stopping does not wait for it once more.
    rig.shared.stop();
    assert_eq!(rig.turn(), Turn::Stopped);
    let refused = client.read(None, path("name"));
    assert!(matches!(
        poll_once(pin!(refused)),
        Poll::Ready(Err(status::CANCELLED))
    ));
}

#[test]
fn a_late_reply_after_a_time_out_undoes_what_it_did() {
    let mut rig = rig();
    let client = rig.client.clone();
    rig.daemon.hold = true;
    let mut start = std::boxed::Box::pin(client.start_transaction());
    assert!(poll_once(start.as_mut()).is_pending());
    let mut watch = std::boxed::Box::pin(client.watch(path("device")));
    assert!(poll_once(watch.as_mut()).is_pending());
    rig.settle();
    rig.pass(Duration::from_secs(30));
    assert!(matches!(
        poll_once(start.as_mut()),
        Poll::Ready(Err(status::IO_TIMEOUT))
    ));
    assert!(matches!(
        poll_once(watch.as_mut()),
        Poll::Ready(Err(status::IO_TIMEOUT))
    ));
    drop((start, watch));
    assert_eq!(
        (rig.daemon.transactions(), rig.daemon.watch_count()),
        (1, 1)
    );
    rig.daemon.hold = false;
    rig.daemon.release(false);
    rig.settle();
    assert_eq!(
        (rig.daemon.transactions(), rig.daemon.watch_count()),
        (0, 0)
    );
    assert_eq!(rig.in_flight(), 0);
}

#[test]
fn a_stop_waits_for_replies_and_clean_ups_but_not_for_ever() {
    let mut rig = rig();
    let client = rig.client.clone();
    let tx = rig.run(client.start_transaction()).expect("open");
    let watch = rig.run(client.watch(path("device"))).expect("registered");
    rig.shared.stop();
    drop((tx, watch));
    let mut turn = rig.turn();
    while turn != Turn::Stopped {
        rig.daemon.serve(&rig.port.page.clone());
        turn = rig.turn();
    }
    assert_eq!(
        (rig.daemon.transactions(), rig.daemon.watch_count()),
        (0, 0)
    );

    let mut rig = self::rig();
    rig.daemon.dead = true;
    let mut call = pin!(rig.client.read(None, path("name")));
    rig.turn();
    rig.shared.stop();
    assert_ne!(rig.turn(), Turn::Stopped);
    assert_eq!(rig.pass(Duration::from_secs(2)), Turn::Stopped);
    assert!(matches!(
        poll_once(call.as_mut()),
        Poll::Ready(Err(status::CANCELLED))
    ));
}

#[test]
fn callers_that_may_not_wait_meet_a_limit_and_cleaning_up_does_not() {
    let rig = rig();
    let new = || Request::try_new(Kind::READ, 0, 0, &[b"name\0"]).expect("memory");
    for _ in 0..super::super::queue::SYNCHRONOUS_LIMIT {
        rig.shared
            .submit(&new(), Admission::Synchronous)
            .expect("room");
    }
    assert_eq!(
        rig.shared.submit(&new(), Admission::Synchronous).err(),
        Some(status::INSUFFICIENT_RESOURCES)
    );
    rig.shared
        .submit(&new(), Admission::Waiting)
        .expect("futures may wait");
    rig.shared
        .submit(&new(), Admission::Cleanup)
        .expect("always");
}

#[test]
fn request_ids_wrap_skip_zero_and_never_repeat_in_flight() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut rest = Vec::new();
    rig.daemon.hold = true;
    for _ in 0..15 {
        rest.push(client.read(None, path("name")));
    }
    rig.settle();
    rig.daemon.hold = false;
    for _ in 0..100 {
        let _ = rig.run(client.read(None, path("name"))).expect("there");
    }
    let ids: std::collections::BTreeSet<u32> = rig.daemon.seen.iter().map(|h| h.req_id).collect();
    assert_eq!(ids.len(), rig.daemon.seen.len());
    assert!(!ids.contains(&0));
    assert_eq!(rig.shared.counters.spurious.load(Ordering::Relaxed), 0);
}
