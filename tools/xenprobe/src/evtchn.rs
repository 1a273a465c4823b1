// SPDX-License-Identifier: BSD-2-Clause
//! Event channels, through [`xenbus_interface::client::Evtchn`].

use crate::probe::{Outcome, Probe, ensure, run, text};

const BOUNCES: u32 = 100;

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, evtchn_bounces_off_dom0);
}

async fn evtchn_bounces_off_dom0(probe: &Probe) -> Outcome {
    let channel = probe.evtchn.unbound(0)?;
    channel.unmask();
    let question = text(format_args!("evtchn bounce {} {BOUNCES}", channel.port()));
    probe.ask(question?).await?;
    let mut received = 0;
    while received < BOUNCES {
        channel.send();
        received += channel.wait().await?;
    }
    let question = text(format_args!("evtchn join"));
    let answer = probe.ask(question?).await?;
    ensure!(answer.as_str() == "100", "dom0 answered 100 events");
    ensure!(received == BOUNCES, "one event for each that was sent");
    Ok(())
}
