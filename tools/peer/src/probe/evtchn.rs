// SPDX-License-Identifier: BSD-2-Clause
//! Event channels of dom0, each served by a thread.
//!
//! | words | what dom0 does |
//! |---|---|
//! | `evtchn bounce PORT COUNT` | binds to the guest's unbound port and answers COUNT events with one each |
//! | `evtchn offer COUNT` | tells a port for the guest to bind to, and answers as many |
//! | `evtchn join` | waits for the end of that, and tells how many it answered |
//! | `evtchn storm PORT` | binds to the guest's port and sends without a pause |
//! | `evtchn calm` | ends that, and tells how many it sent |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Probe;
use crate::args::Args;
use crate::evtchn::Channel;
use crate::{Failure, Result};

/// A thread that sends.
pub(super) struct Storm {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    let number = |args: &mut Args, what: &str| {
        let word = args.need(what)?;
        word.parse::<u32>()
            .map_err(|_| Failure::new(format!("{what}: bad number {word}")))
    };
    match verb.as_str() {
        "bounce" => {
            let port = number(&mut args, "a port")?;
            let count = number(&mut args, "a count")?;
            args.end()?;
            idle(probe)?;
            bounce(probe, Channel::bind(probe.domid, port)?, count);
            Ok(String::new())
        }
        "offer" => {
            let count = number(&mut args, "a count")?;
            args.end()?;
            idle(probe)?;
            let channel = Channel::offer(probe.domid)?;
            let port = channel.port();
            bounce(probe, channel, count);
            Ok(port.to_string())
        }
        "join" => {
            args.end()?;
            let bouncer = probe.bouncer.take();
            join(bouncer.ok_or_else(|| Failure::new("nothing bounces"))?)
        }
        "storm" => {
            let port = number(&mut args, "a port")?;
            args.end()?;
            if probe.storm.is_some() {
                return Err(Failure::new("still a storm"));
            }
            let channel = Channel::bind(probe.domid, port)?;
            let (end, limit) = (Arc::new(AtomicBool::new(false)), probe.limit);
            let ended = end.clone();
            let thread = std::thread::spawn(move || {
                let last = Instant::now() + limit;
                let mut sent = 0;
                while !ended.load(Ordering::Relaxed) && Instant::now() < last {
                    // Nobody hears it once the guest has closed its end.
                    channel.notify()?;
                    sent += 1;
                }
                channel.close()?;
                Ok(sent)
            });
            probe.storm = Some(Storm { end, thread });
            Ok(String::new())
        }
        "calm" => {
            args.end()?;
            let storm = probe.storm.take();
            let storm = storm.ok_or_else(|| Failure::new("no storm"))?;
            storm.end.store(true, Ordering::Relaxed);
            join(storm.thread)
        }
        _ => Err(Failure::new(format!("evtchn: no verb {verb}"))),
    }
}

fn idle(probe: &Probe) -> Result {
    match probe.bouncer {
        Some(_) => Err(Failure::new("still bouncing")),
        None => Ok(()),
    }
}

/// Answers `count` events, in a thread.
fn bounce(probe: &mut Probe, mut channel: Channel, count: u32) {
    let limit = probe.limit;
    probe.bouncer = Some(std::thread::spawn(move || {
        channel.bounce(count, false, limit)?;
        channel.close()?;
        Ok(count)
    }));
}

fn join(thread: JoinHandle<Result<u32>>) -> Result<String> {
    let count = thread
        .join()
        .map_err(|_| Failure::new("the thread panicked"))??;
    Ok(count.to_string())
}
