// SPDX-License-Identifier: BSD-2-Clause
//! The store over a suspend: requests in flight and queued, transactions, watches.

use core::pin::pin;
use core::task::Poll;

use kexec::Duration;

use super::wire::Path;
use crate::status;
use crate::testing::rig::{StoreRig, poll_once};
use crate::testing::xenstored::Xenstored;

fn path(text: &str) -> Path<'_> {
    Path::plain(text.as_bytes()).expect("short")
}

fn rig() -> StoreRig {
    StoreRig::new(Xenstored::with(&[("name", "guest"), ("k", "old")]))
}

/// Another domain: an empty page, a daemon that knows the same nodes and nothing else.
fn suspend(rig: &mut StoreRig) {
    rig.shared.suspended();
    rig.port.page.reset(0, 0);
    rig.daemon = Xenstored::with(&[("name", "guest"), ("k", "old")]);
}

#[test]
fn reads_and_writes_in_flight_are_carried_out_by_the_new_daemon_in_their_order() {
    for turns in 0..4 {
        let mut rig = rig();
        let client = rig.client.clone();
        let mut first = pin!(client.write(None, path("k"), b"1"));
        let mut second = pin!(client.write(None, path("k"), b"2"));
        let mut read = pin!(client.read(None, path("k")));
        // Before anything was begun, while it is in flight, and after the old daemon has answered unseen.
        if turns > 0 {
            rig.turn();
        }
        if turns > 1 {
            rig.daemon.serve(&rig.port.page);
        }
        suspend(&mut rig);
        rig.settle();
        assert_eq!(poll_once(first.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(poll_once(second.as_mut()), Poll::Ready(Ok(())));
        match poll_once(read.as_mut()) {
            Poll::Ready(Ok(value)) => assert_eq!(&*value, b"2"),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.daemon.get("k").as_deref(), Some("2"));
        assert!(rig.shared.has_followed());
    }
}

#[test]
fn a_daemon_that_is_lost_in_the_resume_costs_what_a_silent_one_costs_and_the_next_one_serves() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("k"))).expect("registered");
    let mut read = pin!(client.read(None, path("k")));
    assert!(poll_once(read.as_mut()).is_pending());
    rig.turn();
    suspend(&mut rig);
    // Sent again, to nobody.
    rig.turn();
    assert!(rig.shared.has_followed());
    assert!(poll_once(read.as_mut()).is_pending());
    for _ in 0..40 {
        rig.pass(Duration::from_secs(1));
    }
    let ended = poll_once(read.as_mut()).map(|result| result.err());
    assert_eq!(ended, Poll::Ready(Some(status::IO_TIMEOUT)));
    // Another domain again.
    suspend(&mut rig);
    rig.settle();
    let value = rig.run(client.read(None, path("k"))).expect("served");
    assert_eq!(&*value, b"old");
    // The watch's owner knows, and can have another.
    assert_eq!(rig.run(watch.changed()), Err(status::IO_TIMEOUT));
    let mut another = rig.run(client.watch(path("k"))).expect("registered");
    rig.run(another.changed()).expect("fires");
}

#[test]
fn a_second_suspend_before_the_first_was_followed_is_one() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut write = pin!(client.write(None, path("k"), b"1"));
    assert!(poll_once(write.as_mut()).is_pending());
    rig.turn();
    suspend(&mut rig);
    suspend(&mut rig);
    rig.settle();
    assert_eq!(poll_once(write.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(rig.daemon.get("k").as_deref(), Some("1"));
    suspend(&mut rig);
    rig.turn();
    suspend(&mut rig);
    rig.settle();
    assert!(rig.run(client.read(None, path("name"))).is_ok());
}

#[test]
fn a_start_in_flight_says_retry_and_an_open_transaction_only_at_its_end() {
    let mut rig = rig();
    let client = rig.client.clone();
    let tx = rig.run(client.start_transaction()).expect("open");
    {
        let mut start = pin!(client.start_transaction());
        assert!(poll_once(start.as_mut()).is_pending());
        rig.turn();
        suspend(&mut rig);
        rig.settle();
        let ended = poll_once(start.as_mut()).map(|result| result.err());
        assert_eq!(ended, Poll::Ready(Some(status::RETRY)));
    }
    let read = rig.run(client.read(Some(&tx), path("k")));
    assert_eq!(read.err(), Some(status::UNSUCCESSFUL));
    assert_eq!(rig.run(tx.commit()).err(), Some(status::RETRY));
    assert_eq!(rig.daemon.transactions(), 0);
}

#[test]
fn watches_are_registered_again_and_fire_and_a_removal_under_way_is_done() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut watch = rig.run(client.watch(path("k"))).expect("registered");
    rig.run(watch.changed()).expect("first");
    let gone = rig.run(client.watch(path("name"))).expect("registered");
    let mut removal = pin!(gone.remove());
    rig.turn();
    suspend(&mut rig);
    rig.settle();
    assert_eq!(poll_once(removal.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(rig.daemon.watch_count(), 1);
    rig.run(watch.changed()).expect("told after the resume");
    rig.settle();
    let _ = poll_once(pin!(watch.changed()));
    rig.daemon.put("k", "new");
    rig.run(watch.changed()).expect("fires in the new domain");
}

#[test]
fn while_it_is_paused_nothing_is_begun_and_what_is_in_flight_ends() {
    let mut rig = rig();
    let client = rig.client.clone();
    let mut before = pin!(client.read(None, path("name")));
    rig.turn();
    rig.shared.pause();
    let mut after = pin!(client.read(None, path("name")));
    {
        let mut quiet = pin!(rig.shared.quiet());
        assert!(poll_once(quiet.as_mut()).is_pending());
    }
    rig.settle();
    assert!(poll_once(before.as_mut()).is_ready());
    assert!(poll_once(after.as_mut()).is_pending());
    assert_eq!(rig.in_flight(), 0);
    assert!(poll_once(pin!(rig.shared.quiet())).is_ready());
    rig.shared.unpause();
    rig.settle();
    assert!(poll_once(after.as_mut()).is_ready());
}
