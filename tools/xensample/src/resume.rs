// SPDX-License-Identifier: BSD-2-Clause
//! Living through suspends: requests outstanding all the time, a watch, an event channel that is opened again.
//!
//! dom0 asks through `data/sample/ask`; each answer is a line and a key.
//!
//! | asked | done |
//! |---|---|
//! | `open N` | opens another channel for dom0, writes its port to `data/sample/port-N` |
//! | `bounce N` | sends and waits for an event, N times |
//! | `end` | ends the job |

use core::fmt::Write;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};

use heapless::String;
use kexec::sync::{Either2, select2};
use kexec::{Result, Status, info};
use xenbus_interface::client::Channel;

use crate::sample::Services;

type Text = String<64>;

fn format(arguments: core::fmt::Arguments<'_>) -> Result<Text> {
    let mut out = Text::new();
    out.write_fmt(arguments)
        .map_err(|_| Status::BUFFER_TOO_SMALL)?;
    Ok(out)
}

/// What the traffic in the background has done.
#[derive(Default)]
struct Traffic {
    operations: AtomicU32,
    retries: AtomicU32,
}

/// The job.
pub(crate) async fn run(services: &Services) -> Result {
    let before = services.clock.time();
    let traffic = Traffic::default();
    let ended = {
        let load = pin!(load(services, &traffic));
        let answers = pin!(answer(services));
        select2(answers, load).await
    };
    match ended {
        Either2::First(result) => result?,
        // It only ends with an error.
        Either2::Second(result) => {
            if let Err(status) = result {
                info!("RESULT suspend traffic {status}");
            }
            return Err(Status::DATA_ERROR);
        }
    }
    let passed = services.clock.time().ticks - before.ticks;
    info!(
        "RESULT suspend.traffic operations={} retries={} count={} time={passed}",
        traffic.operations.load(Ordering::Relaxed),
        traffic.retries.load(Ordering::Relaxed),
        services.suspend.count()
    );
    info!("RESULT sample ok");
    Ok(())
}

/// Reads, writes and transactions without a pause; every one must succeed, a transaction after tries.
async fn load(services: &Services, traffic: &Traffic) -> Result {
    loop {
        let value = services.store.read("device/sample/0/nonce").await?;
        if value.text()? != "suspend" {
            return Err(Status::DATA_ERROR);
        }
        services.store.write("data/sample/scratch", "1").await?;
        let mut tries = 0;
        services
            .store
            .transaction(|tx| {
                tries += 1;
                async {
                    match tx.read("data/sample/scratch").await {
                        // Its daemon is gone: from the start.
                        Err(_) => return Ok((tx, ())),
                        Ok(value) => drop(value),
                    }
                    Ok((tx, ()))
                }
            })
            .await?;
        traffic.operations.fetch_add(3, Ordering::Relaxed);
        traffic.retries.fetch_add(tries - 1, Ordering::Relaxed);
    }
}

/// Serves dom0, and says what a suspend did.
async fn answer(services: &Services) -> Result {
    let watch = services.store.watch("data/sample/ask")?;
    let resumes = services.suspend.resumes()?;
    let mut channel: Option<Channel<'_>> = None;
    let mut asked = Text::new();
    info!("RESULT suspend ready");
    loop {
        let event = {
            let changed = pin!(watch.changed());
            let resumed = pin!(resumes.next());
            select2(resumed, changed).await
        };
        match event {
            Either2::First(count) => {
                let dead = match channel.take() {
                    Some(channel) => channel.wait().await.is_err(),
                    None => false,
                };
                info!("RESULT suspend.resumed count={count} dead={dead}");
                continue;
            }
            Either2::Second(changed) => changed?,
        }
        let ask = match services.store.read("data/sample/ask").await {
            Ok(value) => format(format_args!("{}", value.text()?))?,
            Err(Status::OBJECT_NAME_NOT_FOUND) => continue,
            Err(status) => return Err(status),
        };
        // Told again after a resume, or by a change that was read already.
        if ask == asked {
            continue;
        }
        let (verb, number) = ask.split_once(' ').unwrap_or((&ask, "0"));
        match verb {
            "open" => {
                let opened = services.evtchn.unbound(0)?;
                opened.unmask();
                let key = format(format_args!("data/sample/port-{number}"))?;
                let port = format(format_args!("{}", opened.port()))?;
                channel = Some(opened);
                services.store.write(&key, &*port).await?;
            }
            "bounce" => {
                let channel = channel.as_ref().ok_or(Status::DATA_ERROR)?;
                let count: u32 = number.parse().map_err(|_| Status::DATA_ERROR)?;
                let mut received = 0;
                for _ in 0..count {
                    channel.send();
                    received += channel.wait().await?;
                }
                info!("RESULT suspend.bounced {received}");
            }
            "end" => return Ok(()),
            _ => {}
        }
        info!("RESULT suspend.did {ask}");
        asked = ask;
    }
}
