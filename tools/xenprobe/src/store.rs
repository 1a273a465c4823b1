// SPDX-License-Identifier: BSD-2-Clause
//! The store, through [`xenbus_interface::client::Store`].

use kexec::Status;

use crate::probe::{Outcome, Probe, ensure, run, text};

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, store_reads_what_it_wrote);
    run!(probe, store_of_a_missing_key_says_so);
    run!(probe, store_sees_what_dom0_writes);
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
