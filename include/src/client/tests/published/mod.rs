// SPDX-License-Identifier: BSD-2-Clause
//! The store over the published table alone: the same wrappers, on threads, against the tree.

pub(super) mod table;

use core::future::Future;
use core::pin::pin;
use std::format;

use kexec::nt::sys::fake;
use kexec::{Passive, Result, Status, block_on};

use super::tree::Tree;
use super::{TAG, poll};
use crate::client::{Kind, Store, Transaction};
use crate::store::Permission;

fn open(tree: &Tree) -> Result<Store> {
    // SAFETY: every test keeps its tree until the store is gone.
    unsafe { Store::from_published(TAG, table::table(tree), Passive::assert()) }
}

/// The output of a future that waits for a thread.
fn done<T>(future: impl Future<Output = T>) -> T {
    block_on(Passive::assert(), future).expect("memory")
}

/// Waits until the thread is inside a method.
fn inside(tree: &Tree) {
    while tree.callers() == 0 {
        std::thread::yield_now();
    }
}

async fn count(t: Transaction<'_>) -> Result<(Transaction<'_>, u64)> {
    let next = t.read("counter").await?.number()? + 1;
    t.write("counter", format!("{next}")).await?;
    Ok((t, next))
}

#[test]
fn the_store_is_the_same_over_the_published_table() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    assert_eq!(store.kind(), Kind::Published);
    let story = async {
        store.write("data/key", "value").await?;
        assert_eq!(store.read("data/key").await?.text()?, "value");
        let missing = store.read("data/other").await.err();
        assert_eq!(missing, Some(Status::OBJECT_NAME_NOT_FOUND));
        store.write("data/second", "").await?;
        let names = store.directory("data").await?;
        assert!(names.iter().eq(["key", "second"]));
        assert!(store.directory("data/key").await?.is_empty());
        store.remove("data").await?;
        assert!(store.read("data/key").await.is_err());
        let owner = Permission { domain: 7, mask: 3 };
        store.set_permissions("node", &[owner]).await?;
        let set = store.read("node-permissions").await?;
        assert_eq!(set.text()?, "7 3");
        Ok::<_, Status>(())
    };
    done(story).expect("as scripted");
    assert_eq!(tree.references(0), 1);
    drop(store);
    assert_eq!(tree.references(0), 0);
}

#[test]
fn what_the_published_table_cannot_do_is_an_error() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    let longest = "x".repeat(1024);
    let written = |value: &str| done(store.write("a", value));
    assert_eq!(written(&longest[..1023]), Ok(()));
    assert_eq!(written(&longest), Err(Status::INVALID_BUFFER_SIZE));
    assert_eq!(written("a\0b"), Err(Status::INVALID_PARAMETER));
    let read = done(store.read("a\0b")).err();
    assert_eq!(read, Some(Status::INVALID_PARAMETER));
    let permissions = done(store.permissions("a")).err();
    assert_eq!(permissions, Some(Status::NOT_SUPPORTED));
}

#[test]
fn a_transaction_is_tried_again_ten_times_and_no_more() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    tree.write("counter", "1");
    tree.conflict(3);
    assert_eq!(done(store.transaction(count)), Ok(2));
    tree.conflict(10);
    assert_eq!(done(store.transaction(count)), Err(Status::RETRY));
    assert_eq!(done(store.transaction(count)), Ok(3));
    assert_eq!(tree.left(), 0);
}

#[test]
fn a_transaction_dropped_while_a_read_of_it_runs_is_aborted_after_the_read() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    let transaction = done(store.start()).expect("started");
    tree.hold(true);
    {
        let mut read = pin!(transaction.read("a"));
        assert!(poll(read.as_mut()).is_pending());
        inside(&tree);
    }
    drop(transaction);
    tree.hold(false);
    // Behind both of them.
    assert!(done(store.read("a")).is_err());
    assert_eq!(tree.left(), 0);
}

#[test]
fn a_request_dropped_while_it_runs_and_one_that_has_not_begun_leave_nothing() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    tree.write("key", "value");
    let store = open(&tree).expect("memory");
    tree.hold(true);
    {
        let mut running = pin!(store.start());
        assert!(poll(running.as_mut()).is_pending());
        inside(&tree);
        let mut waiting = pin!(store.write("never", "written"));
        assert!(poll(waiting.as_mut()).is_pending());
    }
    tree.hold(false);
    let read = done(store.read("key")).expect("read");
    assert_eq!(read.text(), Ok("value"));
    // The transaction that nobody took is aborted, and the write was not made.
    assert_eq!(tree.left(), 0);
    assert_eq!(tree.get("never"), None);
}

#[test]
fn a_store_dropped_with_a_request_running_waits_for_it() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    tree.hold(true);
    {
        let mut running = pin!(store.start());
        assert!(poll(running.as_mut()).is_pending());
        inside(&tree);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| tree.hold(false));
        drop(store);
    });
    assert_eq!(tree.references(0), 0);
}

#[test]
fn a_watch_fires_once_at_first_and_after_every_change() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    let watch = store.watch("data").expect("memory");
    assert_eq!(done(watch.changed()), Ok(()));
    for round in 0..50 {
        let value = format!("{round}");
        tree.write("data/key", &value);
        // It may fire for nothing, but never fails to.
        loop {
            assert_eq!(done(watch.changed()), Ok(()));
            let now = done(store.read("data/key")).expect("there");
            if now.text() == Ok(&value) {
                break;
            }
        }
    }
    drop(watch);
    // Behind the removal.
    assert!(done(store.read("data/key")).is_ok());
    assert_eq!(tree.left(), 0);
}

#[test]
fn a_storm_of_changes_loses_not_the_last() {
    let kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    let watches = [(); 8].map(|()| store.watch("data").expect("memory"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kernel.kernel().adopt(1);
            for value in 0..=5000 {
                tree.write("data/key", &format!("{value}"));
            }
        });
        for watch in &watches {
            loop {
                assert_eq!(done(watch.changed()), Ok(()));
                let now = done(store.read("data/key"));
                if now.is_ok_and(|now| now.text() == Ok("5000")) {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_watch_that_is_refused_says_so_each_time() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    let watch = store.watch("refused").expect("memory");
    assert_eq!(done(watch.changed()), Err(Status::QUOTA_EXCEEDED));
    assert_eq!(done(watch.changed()), Err(Status::QUOTA_EXCEEDED));
    let other = store.watch("fine").expect("memory");
    assert_eq!(done(other.changed()), Ok(()));
}

#[test]
fn a_watch_dropped_before_it_is_registered_is_removed_all_the_same() {
    let _kernel = fake::boot();
    let tree = Tree::new();
    let store = open(&tree).expect("memory");
    tree.hold(true);
    {
        let mut running = pin!(store.read("a"));
        assert!(poll(running.as_mut()).is_pending());
        inside(&tree);
        drop(store.watch("b").expect("memory"));
    }
    tree.hold(false);
    assert!(done(store.read("a")).is_err());
    assert_eq!(tree.left(), 0);
}

#[test]
fn no_memory_at_any_allocation_is_an_error_and_leaves_nothing() {
    let mut at = 0;
    loop {
        let kernel = fake::boot();
        let tree = Tree::new();
        tree.write("counter", "1");
        kernel.fail_alloc(Some(at));
        let outcome = (|| {
            let store = open(&tree)?;
            let watch = store.watch("counter")?;
            block_on(Passive::assert(), async {
                watch.changed().await?;
                drop(store.start().await?);
                store.transaction(count).await
            })?
        })();
        let over = kernel.fail_pending();
        kernel.fail_alloc(None);
        assert_eq!(tree.left(), 0, "allocation {at}: {outcome:?}");
        assert_eq!(tree.references(0), 0);
        if over {
            assert_eq!(outcome, Ok(2));
            break;
        }
        at += 1;
    }
    assert!(at > 10, "only {at} allocations");
}
