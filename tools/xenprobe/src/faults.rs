// SPDX-License-Identifier: BSD-2-Clause
//! The store while xenstored is silent, is replaced, and is killed and started again. Run in a guest of their own.

use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;

use kexec::nt::{Box, Vec};
use kexec::sync::{Either2, select2};
use kexec::timer::Timers;
use kexec::{Duration, Result, Status, info};
use xenbus_interface::client::Value;
use xenbus_interface::errno::status::CONNECTION_DISCONNECTED;

use crate::probe::{Outcome, Probe, Text, ensure, run, text};
use crate::run::TAG;

/// Requests at once.
const OUTSTANDING: usize = 256;
const KEY: &str = "data/probe/faults/key";

pub(crate) async fn tests(probe: &Probe, timers: &Timers) {
    run!(probe, store_loses_nothing_to_a_silent_xenstored, timers);
    run!(probe, store_notices_nothing_of_a_live_update);
    run!(probe, store_goes_on_after_a_restart_under_load);
    run!(probe, store_notices_a_restart_when_idle);
}

/// Polls all until all are ready.
async fn all<F: Future<Output = Result<Value>>>(
    calls: &mut [Pin<Box<F>>],
    values: &mut Vec<u64>,
) -> Outcome {
    let mut done = [false; OUTSTANDING];
    let mut said = false;
    core::future::poll_fn(|cx| {
        let mut pending = false;
        for (call, done) in calls.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
            match call.as_mut().poll(cx) {
                Poll::Ready(value) => {
                    *done = true;
                    values.try_push(value?.number()?)?;
                }
                Poll::Pending => pending = true,
            }
        }
        if !said {
            said = true;
            info!("RESULT pending {}", calls.len());
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    })
    .await
}

async fn store_loses_nothing_to_a_silent_xenstored(probe: &Probe, timers: &Timers) -> Outcome {
    probe.store.write(KEY, "7").await?;
    let mut values = Vec::new(TAG);
    values.try_reserve(OUTSTANDING)?;
    probe
        .ask(text(format_args!("xenstored silence 9000"))?)
        .await?;
    timers.sleep(Duration::from_secs(3)).await;
    let mut calls = Vec::new(TAG);
    for _ in 0..OUTSTANDING {
        calls.try_push(Box::try_pin(TAG, probe.store.read(KEY))?)?;
    }
    all(&mut calls, &mut values).await?;
    info!("RESULT pending 0");
    ensure!(values.len() == OUTSTANDING, "an answer to each");
    ensure!(values.iter().all(|value| *value == 7), "the value");
    Ok(())
}

/// What happened to requests that came one after the other.
#[derive(Default)]
struct Load {
    done: AtomicU32,
    lost: AtomicU32,
}

impl Load {
    /// Reads, writes and transactions until something fails with another status than the one of a lost connection.
    async fn run(&self, probe: &Probe) -> Outcome {
        loop {
            let outcome = async {
                probe.store.write("data/probe/faults/load", "1").await?;
                probe.store.read("data/probe/faults/load").await?;
                let add = probe.store.transaction(async |t| {
                    let value = t.read("data/probe/faults/load").await?.number()?;
                    t.write("data/probe/faults/load", if value == 1 { "2" } else { "1" })
                        .await?;
                    Ok((t, ()))
                });
                add.await
            };
            match outcome.await {
                Ok(()) => self.done.fetch_add(1, Ordering::Relaxed),
                // A transaction's requests say so in their way: its daemon is gone.
                Err(CONNECTION_DISCONNECTED | Status::UNSUCCESSFUL | Status::RETRY) => {
                    self.lost.fetch_add(1, Ordering::Relaxed)
                }
                Err(status) => return Err(status.into()),
            };
        }
    }

    fn figures(&self) -> (u32, u32) {
        (
            self.done.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed),
        )
    }
}

/// Asks dom0 while the load runs.
async fn ask_under_load(probe: &Probe, load: &Load, question: Text) -> Outcome {
    let asked = pin!(probe.ask(question));
    let running = pin!(load.run(probe));
    match select2(asked, running).await {
        Either2::First(answer) => answer.map(drop),
        Either2::Second(failed) => failed,
    }
}

async fn store_notices_nothing_of_a_live_update(probe: &Probe) -> Outcome {
    let load = Load::default();
    let question = text(format_args!("xenstored update"))?;
    ask_under_load(probe, &load, question).await?;
    let (done, lost) = load.figures();
    ensure!(done > 0, "operations");
    ensure!(lost == 0, "none of them lost");
    Ok(())
}

async fn store_goes_on_after_a_restart_under_load(probe: &Probe) -> Outcome {
    probe.store.write(KEY, "7").await?;
    let watch = probe.store.watch(KEY)?;
    watch.changed().await?;
    let open = probe.store.start().await?;
    open.write(KEY, "9").await?;
    let load = Load::default();
    let question = text(format_args!("xenstored restart 1500"))?;
    ask_under_load(probe, &load, question).await?;
    let (done, lost) = load.figures();
    info!("RESULT restart done={done} lost={lost}");
    ensure!(lost > 0, "a status for what was in flight");
    // Told once that anything may have changed, and then of what did.
    watch.changed().await?;
    let question = text(format_args!("store write {KEY} 8"))?;
    probe.ask(question).await?;
    watch.changed().await?;
    let value = probe.store.read(KEY).await?;
    ensure!(
        value.number()? == 8,
        "dom0's value, not that of the transaction"
    );
    ensure!(
        open.commit().await.err() == Some(Status::RETRY),
        "STATUS_RETRY for a transaction of before"
    );
    let added = probe.store.transaction(async |t| {
        let next = t.read(KEY).await?.number()? + 1;
        let next_text = text(format_args!("{next}"))?;
        t.write(KEY, next_text.as_str()).await?;
        Ok((t, next))
    });
    ensure!(added.await? == 9, "a transaction of the new daemon");
    Ok(())
}

async fn store_notices_a_restart_when_idle(probe: &Probe) -> Outcome {
    let watch = probe.store.watch(KEY)?;
    watch.changed().await?;
    // Nothing is in flight: only the watch on the answer waits.
    probe
        .ask(text(format_args!("xenstored restart 200"))?)
        .await?;
    watch.changed().await?;
    let question = text(format_args!("store write {KEY} 3"))?;
    probe.ask(question).await?;
    watch.changed().await?;
    let value = probe.store.read(KEY).await?;
    ensure!(value.number()? == 3, "dom0's value");
    probe.store.remove("data/probe/faults").await?;
    Ok(())
}
