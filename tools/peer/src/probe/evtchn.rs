// SPDX-License-Identifier: BSD-2-Clause
//! `evtchn bounce PORT COUNT` binds to the guest's unbound port and answers COUNT events with one each, in a thread;
//! `evtchn join` waits for that and tells how many it answered.

use super::Probe;
use crate::args::Args;
use crate::evtchn::Channel;
use crate::{Failure, Result};

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
            if probe.bouncer.is_some() {
                return Err(Failure::new("still bouncing"));
            }
            let mut channel = Channel::bind(probe.domid, port)?;
            let limit = probe.limit;
            probe.bouncer = Some(std::thread::spawn(move || {
                channel.bounce(count, false, limit)?;
                channel.close()?;
                Ok(count)
            }));
            Ok(String::new())
        }
        "join" => {
            args.end()?;
            let bouncer = probe.bouncer.take();
            let bouncer = bouncer.ok_or_else(|| Failure::new("nothing bounces"))?;
            let count = bouncer
                .join()
                .map_err(|_| Failure::new("the bouncer panicked"))??;
            Ok(count.to_string())
        }
        _ => Err(Failure::new(format!("evtchn: no verb {verb}"))),
    }
}
