// SPDX-License-Identifier: BSD-2-Clause
//! Requests, transactions, watches.

use core::pin::pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::string::String;
use std::vec;
use std::vec::Vec;

use futures_core::Stream;
use kexec::Status;
use kexec::nt::sys::fake;

use super::bus::{Bus, Seen, identity, starts, value};
use super::{Count, TAG, now, poll};
use crate::client::Store;
use crate::store::Permission;
use crate::store_async as table;

fn store(bus: &Bus) -> Store {
    // SAFETY: every test keeps its bus until the store is gone.
    unsafe { Store::from_table(TAG, bus.table()) }.expect("acquired")
}

fn seen(operation: u32, transaction: u64, path: &str, value: &str) -> Seen {
    Seen {
        operation,
        transaction,
        path: path.into(),
        value: value.into(),
        detached: false,
    }
}

#[test]
fn a_reference_is_held_exactly_as_long_as_the_store() {
    let bus = Bus::new();
    let store = store(&bus);
    assert_eq!(bus.references(), 1);
    drop(store);
    assert_eq!(bus.references(), 0);
    bus.refuse(Status::NO_MEMORY);
    // SAFETY: as in `store`.
    let refused = unsafe { Store::from_table(TAG, bus.table()) };
    assert_eq!(refused.err(), Some(Status::NO_MEMORY));
    assert_eq!(bus.references(), 0);
}

#[test]
fn a_read_waits_for_its_completion_and_is_woken_once() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    let (count, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    let mut read = pin!(store.read("data/key"));
    assert!(bus.seen().is_empty(), "submitted before the first poll");
    assert!(read.as_mut().poll(&mut cx).is_pending());
    assert!(read.as_mut().poll(&mut cx).is_pending());
    assert_eq!(bus.seen(), vec![seen(table::OP_READ, 0, "data/key", "")]);
    assert!(bus.complete(&value("17")));
    assert_eq!(count.get(), 1);
    let Poll::Ready(Ok(answer)) = read.as_mut().poll(&mut cx) else {
        panic!("not ready");
    };
    assert_eq!((answer.text(), answer.number()), (Ok("17"), Ok(17)));
    assert_eq!((bus.live(), bus.closed()), (0, 1));
}

#[test]
fn a_completion_that_comes_before_submit_returns_is_not_lost() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([value("x"), Ok(vec![]), Err(Status::OBJECT_NAME_NOT_FOUND)]);
    assert_eq!(now(store.read("a")).expect("read").text(), Ok("x"));
    assert_eq!(now(store.write("a", "new")), Ok(()));
    assert_eq!(
        now(store.read("b")).err(),
        Some(Status::OBJECT_NAME_NOT_FOUND)
    );
    assert_eq!(bus.seen()[1], seen(table::OP_WRITE, 0, "a", "new"));
    assert_eq!((bus.live(), bus.closed()), (0, 3));
}

#[test]
fn a_refused_request_has_no_handle_to_close() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.refuse(Status::INVALID_BUFFER_SIZE);
    let result = now(store.remove("a"));
    assert_eq!(result, Err(Status::INVALID_BUFFER_SIZE));
    assert_eq!(bus.closed(), 0);
}

#[test]
fn a_dropped_future_cancels_its_request_and_an_unpolled_one_has_none() {
    let bus = Bus::new();
    let store = store(&bus);
    drop(store.read("never"));
    assert!(bus.seen().is_empty());
    {
        let mut read = pin!(store.read("dropped"));
        assert!(poll(read.as_mut()).is_pending());
        assert_eq!(bus.live(), 1);
    }
    assert_eq!((bus.live(), bus.closed()), (0, 1));
    assert!(!bus.complete(&value("late")));
}

#[test]
fn a_completion_that_nobody_polls_for_frees_its_reply() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    let mut read = Box::pin(store.read("a"));
    assert!(poll(read.as_mut()).is_pending());
    assert!(bus.complete(&value("unread")));
    drop(read);
    assert_eq!(bus.live(), 0);
    // The kernel's end fails the test if the reply's block is left.
}

#[test]
fn a_drop_that_meets_a_completion_on_another_processor_waits_for_it() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    for round in 0..500 {
        let mut read = Box::pin(store.remove("a"));
        assert!(poll(read.as_mut()).is_pending());
        std::thread::scope(|scope| {
            let bus = &bus;
            let peer = scope.spawn(move || bus.complete(&Ok(vec![])));
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            drop(read);
            peer.join().expect("the completion ran into freed memory");
        });
        assert_eq!(bus.live(), 0);
    }
}

#[test]
fn a_short_reply_needs_no_memory_and_none_for_a_long_one_is_an_error_of_the_read() {
    let kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    kernel.fail_alloc(Some(0));
    let (short, long) = ("x".repeat(47), "x".repeat(48));
    bus.script([value(&short), value(&long)]);
    assert_eq!(now(store.read("a")).expect("short").text(), Ok(&*short));
    let result = now(store.read("a"));
    assert_eq!(result.err(), Some(Status::INSUFFICIENT_RESOURCES));
}

#[test]
fn permissions_travel_both_ways() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([Ok(b"n1\0r12\0b65535\0".to_vec()), Ok(vec![])]);
    let read = now(store.permissions("a")).expect("read");
    let read: Vec<_> = read.iter().collect();
    let expected = [(1, 0), (12, 1), (u16::MAX, 3)];
    assert_eq!(
        read,
        expected.map(|(domain, mask)| Permission { domain, mask })
    );
    now(store.set_permissions("a", &read[1..])).expect("set");
    let value = bus.seen().pop().expect("asked").value;
    assert_eq!(&value.as_bytes()[..8], [12, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_directory_is_a_list_of_names() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([value("alpha\0beta\0"), Ok(vec![])]);
    let names = now(store.directory("list")).expect("listed");
    let names: Vec<String> = names.iter().map(Into::into).collect();
    assert_eq!(names, ["alpha", "beta"]);
    assert!(now(store.directory("empty")).expect("listed").is_empty());
}

#[test]
fn a_transaction_is_tried_again_from_the_start_after_a_conflict() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([
        identity(0x1_0000_0005),
        value("1"),
        Err(Status::RETRY),
        identity(0x1_0000_0006),
        value("8"),
        Ok(vec![]),
    ]);
    let mut attempts = 0;
    let result = now(store.transaction(|t| {
        attempts += 1;
        async {
            let value = t.read("counter").await?.number()?;
            Ok((t, value))
        }
    }));
    assert_eq!((result, attempts), (Ok(8), 2));
    let expected = [
        seen(table::OP_TRANSACTION_START, 0, "", ""),
        seen(table::OP_READ, 0x1_0000_0005, "counter", ""),
        seen(table::OP_TRANSACTION_COMMIT, 0x1_0000_0005, "", ""),
        seen(table::OP_TRANSACTION_START, 0, "", ""),
        seen(table::OP_READ, 0x1_0000_0006, "counter", ""),
        seen(table::OP_TRANSACTION_COMMIT, 0x1_0000_0006, "", ""),
    ];
    assert_eq!(bus.seen(), expected);
}

#[test]
fn a_transaction_that_always_conflicts_gives_up() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.script((1..=20).flat_map(|id| [identity(id), Err(Status::RETRY)]));
    let result = now(store.transaction(async |t| Ok((t, ()))));
    assert_eq!(result, Err(Status::RETRY));
    assert_eq!(starts(&bus.seen()), 10);
}

#[test]
fn an_error_in_the_body_aborts_and_is_what_is_returned() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([identity(3), Err(Status::OBJECT_NAME_NOT_FOUND), Ok(vec![])]);
    let result = now(store.transaction(async |t| {
        t.remove("gone").await?;
        Ok((t, ()))
    }));
    assert_eq!(result, Err(Status::OBJECT_NAME_NOT_FOUND));
    // Not waited for: the body's status is there already.
    let aborted = Seen {
        detached: true,
        ..seen(table::OP_TRANSACTION_ABORT, 3, "", "")
    };
    assert_eq!(bus.seen().pop(), Some(aborted));
}

#[test]
fn a_transaction_that_is_dropped_is_aborted_without_waiting() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([identity(4), identity(5)]);
    drop(now(store.start()).expect("started"));
    let commit = now(store.start()).expect("started").commit();
    {
        let mut commit = pin!(commit);
        assert!(poll(commit.as_mut()).is_pending());
    }
    let aborted = |id| Seen {
        detached: true,
        ..seen(table::OP_TRANSACTION_ABORT, id, "", "")
    };
    let seen = bus.seen();
    assert!(seen.contains(&aborted(4)));
    assert_eq!(seen.last(), Some(&aborted(5)));
    assert_eq!(bus.live(), 0);
}

#[test]
fn an_ended_transaction_is_not_aborted_again() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([identity(4), Ok(vec![]), identity(5), Err(Status::RETRY)]);
    assert_eq!(now(now(store.start()).expect("started").commit()), Ok(()));
    let refused = now(now(store.start()).expect("started").commit());
    assert_eq!(refused, Err(Status::RETRY));
    assert!(bus.seen().iter().all(|seen| !seen.detached));
}

#[test]
fn an_identity_that_is_none_is_refused() {
    let bus = Bus::new();
    let store = store(&bus);
    bus.script([identity(0), value("short")]);
    for _ in 0..2 {
        let result = now(store.start()).err();
        assert_eq!(result, Some(Status::DEVICE_PROTOCOL_ERROR));
    }
}

#[test]
fn changes_of_a_watch_coalesce_and_none_is_lost() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    let watch = store.watch("data/poke").expect("added");
    let (count, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    {
        let mut changed = pin!(watch.changed());
        assert!(changed.as_mut().poll(&mut cx).is_pending());
        bus.fire(0);
        bus.fire(0);
        assert_eq!(count.get(), 1);
        assert!(changed.as_mut().poll(&mut cx).is_ready());
    }
    {
        let mut abandoned = pin!(watch.changed());
        assert!(abandoned.as_mut().poll(&mut cx).is_pending());
        bus.fire(0);
    }
    assert_eq!(now(watch.changed()), Ok(()));
    {
        let mut abandoned = pin!(watch.changed());
        assert!(abandoned.as_mut().poll(&mut cx).is_pending());
    }
    let woken = count.get();
    bus.fire(0);
    assert_eq!(count.get(), woken, "a waker was left");
    assert_eq!(now(watch.changed()), Ok(()));
    let mut changed = pin!(watch.changed());
    assert!(poll(changed.as_mut()).is_pending());
    assert_eq!(bus.seen()[0].path, "data/poke");
}

#[test]
fn a_watch_that_is_refused_says_so_each_time() {
    let _kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    let mut watch = store.watch("a").expect("added");
    bus.fire(Status::QUOTA_EXCEEDED.raw());
    assert_eq!(now(watch.changed()), Err(Status::QUOTA_EXCEEDED));
    assert_eq!(now(watch.changed()), Err(Status::QUOTA_EXCEEDED));
    let mut cx = Context::from_waker(core::task::Waker::noop());
    let next = core::pin::Pin::new(&mut watch).poll_next(&mut cx);
    assert_eq!(next, Poll::Ready(None));
}

#[test]
fn a_watch_that_cannot_be_added_leaves_nothing_behind() {
    let kernel = fake::boot();
    let bus = Bus::new();
    let store = store(&bus);
    bus.refuse(Status::NO_MEMORY);
    assert_eq!(store.watch("a").err(), Some(Status::NO_MEMORY));
    kernel.fail_alloc(Some(0));
    let refused = store.watch("a").err();
    assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
    assert_eq!(bus.live(), 0);
}
