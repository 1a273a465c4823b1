// SPDX-License-Identifier: BSD-2-Clause
//! Everything that a store can be asked for, dropped at every await.

use core::pin::pin;
use std::format;

use kexec::nt::sys::fake;
use kexec::{Result, Status};

use super::tree::Tree;
use super::{TAG, poll};
use crate::client::{Store, Transaction};

async fn count(t: Transaction<'_>) -> Result<(Transaction<'_>, u64)> {
    let next = t.read("counter").await?.number()? + 1;
    t.write("counter", format!("{next}")).await?;
    Ok((t, next))
}

async fn story(store: &Store) -> Result<u64> {
    let watch = store.watch("data")?;
    watch.changed().await?;
    store.write("data/key", "value").await?;
    watch.changed().await?;
    store.directory("data").await?;
    store.remove("data").await?;
    let aborted = store.start().await?;
    aborted.remove("counter").await?;
    aborted.abort().await?;
    let dropped = store.start().await?;
    dropped.directory("data").await?;
    drop(dropped);
    let counted = store.transaction(count).await?;
    let failing = store.transaction(async |t| {
        t.write("counter", "0").await?;
        Err::<(_, ()), _>(Status::DISK_FULL)
    });
    match failing.await {
        Err(Status::DISK_FULL) => Ok(counted),
        other => other.map(|()| 0),
    }
}

#[test]
fn a_store_dropped_at_any_await_is_left_as_if_nothing_had_been_asked() {
    let mut limit = 0;
    loop {
        let _kernel = fake::boot();
        let tree = Tree::new();
        tree.write("counter", "1");
        tree.conflict(1);
        // SAFETY: the tree outlives the store.
        let store = unsafe { Store::from_table(TAG, tree.table()) }.expect("acquired");
        tree.hold(true);
        let mut answers = 0;
        let ended = {
            let mut story = pin!(story(&store));
            loop {
                if let core::task::Poll::Ready(ended) = poll(story.as_mut()) {
                    break Some(ended);
                }
                if answers == limit {
                    break None;
                }
                assert!(tree.step(), "it waits for nothing");
                answers += 1;
            }
        };
        assert_eq!(tree.left(), 0, "after {answers} answers");
        drop(store);
        assert_eq!(tree.references(0), 0);
        if let Some(ended) = ended {
            assert_eq!(ended, Ok(2));
            break;
        }
        limit += 1;
    }
    assert!(limit > 15, "only {limit} awaits");
}
