// SPDX-License-Identifier: BSD-2-Clause
//! The store, through [`xenbus_interface::client::Store`].

use kexec::Status;
use kexec::nt::Vec;

use xenbus_interface::store::{self, Permission};

use crate::probe::{Outcome, Probe, Why, ensure, run, text};
use crate::run::TAG;

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, store_reads_what_it_wrote);
    run!(probe, store_of_a_missing_key_says_so);
    run!(probe, store_sees_what_dom0_writes);
    run!(probe, store_lists_directories_of_any_length);
    run!(probe, store_permissions_are_read_back);
    if probe.many_watches {
        run!(probe, store_keeps_a_thousand_watches);
    }
    run!(probe, store_counts_with_dom0_and_loses_nothing);
}

async fn store_reads_what_it_wrote(probe: &Probe) -> Outcome {
    probe.store.write("data/probe/store/key", "value").await?;
    let value = probe.store.read("data/probe/store/key").await?;
    ensure!(value.text()? == "value", "the value that was written");
    let names = probe.store.directory("data/probe/store").await?;
    ensure!(names.iter().eq(["key"]), "one name in the directory");
    probe.store.remove("data/probe/store").await?;
    Ok(())
}

async fn store_of_a_missing_key_says_so(probe: &Probe) -> Outcome {
    let missing = probe.store.read("data/probe/nothing").await;
    ensure!(
        missing.err() == Some(Status::OBJECT_NAME_NOT_FOUND),
        "STATUS_OBJECT_NAME_NOT_FOUND"
    );
    Ok(())
}

async fn store_sees_what_dom0_writes(probe: &Probe) -> Outcome {
    let watch = probe.store.watch("data/probe/poke")?;
    // Comes with the registration.
    watch.changed().await?;
    let question = text(format_args!("store write data/probe/poke 7"));
    probe.ask(question?).await?;
    watch.changed().await?;
    let value = probe.store.read("data/probe/poke").await?;
    ensure!(value.number()? == 7, "dom0's value");
    probe.store.remove("data/probe/poke").await?;
    Ok(())
}

async fn store_lists_directories_of_any_length(probe: &Probe) -> Outcome {
    let question = text(format_args!("store fill data/probe/many 700"));
    probe.ask(question?).await?;
    let names = probe.store.directory("data/probe/many").await?;
    ensure!(names.iter().count() == 700, "700 names");
    ensure!(
        names.iter().all(|name| name.starts_with("child-")),
        "whole names"
    );
    probe.store.remove("data/probe/many").await?;
    Ok(())
}

async fn store_permissions_are_read_back(probe: &Probe) -> Outcome {
    let path = "data/probe/store/permissions";
    probe.store.write(path, "x").await?;
    let before = probe.store.permissions(path).await?;
    let Some(owner) = before.iter().next() else {
        return Err(Why::Wanted("an owner"));
    };
    let set = [
        Permission {
            domain: owner.domain,
            mask: store::PERM_READ,
        },
        Permission {
            domain: 0,
            mask: store::PERM_READ | store::PERM_WRITE,
        },
    ];
    probe.store.set_permissions(path, &set).await?;
    let after = probe.store.permissions(path).await?;
    ensure!(after.iter().eq(set), "the permissions that were set");
    let bad = [Permission {
        domain: owner.domain,
        mask: 4,
    }];
    let refused = probe.store.set_permissions(path, &bad).await;
    ensure!(
        refused.err() == Some(Status::INVALID_PARAMETER),
        "STATUS_INVALID_PARAMETER"
    );
    probe.store.remove("data/probe/store").await?;
    Ok(())
}

/// Watches, each on a node of its own.
const MANY: u32 = 1000;
/// Of these, registered or removed at a time.
const BATCH: u32 = 50;
/// xenstored's default.
const QUOTA: u32 = 128;

async fn store_keeps_a_thousand_watches(probe: &Probe) -> Outcome {
    let question = text(format_args!("store quota watches {}", MANY + QUOTA));
    probe.ask(question?).await?;
    let (mut first, mut second) = (0, 0);
    let mut watches = Vec::new(TAG);
    for child in 0..MANY {
        let path = text(format_args!("data/probe/many/child-{child:04}"))?;
        let watch = probe.store.watch(&path)?;
        // Comes with the registration; not all at once, or the last would wait longer than a request may.
        if child % BATCH == 0 {
            watch.changed().await?;
            first += 1;
        }
        watches.try_push(watch)?;
    }
    // Each for its registration, and each for the node that dom0 makes.
    for (child, watch) in watches.iter().enumerate() {
        if child % BATCH as usize != 0 {
            watch.changed().await?;
            first += 1;
        }
    }
    let question = text(format_args!("store fill data/probe/many {MANY}"));
    probe.ask(question?).await?;
    for watch in &watches {
        watch.changed().await?;
        second += 1;
    }
    ensure!((first, second) == (MANY, MANY), "each twice");
    let mut left = MANY;
    while let Some(watch) = watches.pop() {
        drop(watch);
        left -= 1;
        // Behind what removes them.
        if left.is_multiple_of(BATCH) {
            probe.store.read("data/probe/answer").await?;
        }
    }
    let question = text(format_args!("store rm data/probe/many"));
    probe.ask(question?).await?;
    let question = text(format_args!("store quota watches {QUOTA}"));
    probe.ask(question?).await?;
    Ok(())
}

async fn store_counts_with_dom0_and_loses_nothing(probe: &Probe) -> Outcome {
    const PATH: &str = "data/probe/count";
    probe.store.write(PATH, "0").await?;
    let question = text(format_args!("store count {PATH} 50"));
    probe.ask(question?).await?;
    let mut done = 0;
    while done < 50 {
        let added = probe.store.transaction(async |t| {
            let next = t.read(PATH).await?.number()? + 1;
            let next = text(format_args!("{next}"))?;
            t.write(PATH, next.as_str()).await?;
            Ok((t, ()))
        });
        match added.await {
            Ok(()) => done += 1,
            // Ten conflicts in a row.
            Err(Status::RETRY) => {}
            Err(status) => return Err(status.into()),
        }
    }
    let question = text(format_args!("store join"));
    probe.ask(question?).await?;
    let value = probe.store.read(PATH).await?;
    ensure!(value.number()? == 100, "no count lost");
    probe.store.remove(PATH).await?;
    Ok(())
}
