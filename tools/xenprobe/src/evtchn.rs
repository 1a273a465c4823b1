// SPDX-License-Identifier: BSD-2-Clause
//! Event channels, through [`xenbus_interface::client::Evtchn`].

use kexec::nt::{Vec, cpu};
use kexec::timer::Timers;
use kexec::{Duration, Result, Status};
use xenbus_interface::client::Channel;

use crate::probe::{Outcome, Probe, ensure, run, text};
use crate::run::TAG;

const BOUNCES: u32 = 100;
/// This domain, to itself.
pub(crate) const SELF: u16 = 0x7FF0;
/// Longer than any event of ours takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Longer than an event that is on its way.
const SHORT: Duration = Duration::from_millis(2);
/// Ports that the toolstack allows unless told otherwise.
const USUAL: usize = 1024;

pub(crate) async fn tests(probe: &Probe, timers: &Timers) {
    run!(probe, evtchn_bounces_off_dom0);
    run!(probe, evtchn_binds_to_a_port_of_dom0);
    run!(probe, evtchn_wait_is_given_up_in_time, timers);
    run!(probe, evtchn_masks_itself_until_it_is_unmasked, timers);
    run!(probe, evtchn_unmask_tells_whose_the_event_is);
    run!(probe, evtchn_moves_to_every_processor, timers);
    run!(probe, evtchn_triggers_itself, timers);
    run!(probe, evtchn_is_closed_in_a_storm_of_dom0, timers);
    run!(
        probe,
        evtchn_opens_as_many_channels_as_the_domain_may,
        timers
    );
    #[cfg(windows)]
    crate::ports::tests(probe, timers).await;
}

async fn evtchn_bounces_off_dom0(probe: &Probe) -> Outcome {
    let channel = probe.evtchn.unbound(0)?;
    channel.unmask();
    let question = text(format_args!("evtchn bounce {} {BOUNCES}", channel.port()));
    probe.ask(question?).await?;
    let received = bounce(&channel).await?;
    ensure!(received == BOUNCES, "one event for each that was sent");
    joined(probe).await
}

async fn evtchn_binds_to_a_port_of_dom0(probe: &Probe) -> Outcome {
    let refused = probe.evtchn.inter_domain(0, 0).err();
    ensure!(refused == Some(Status::UNSUCCESSFUL), "no port 0");
    let question = text(format_args!("evtchn offer {BOUNCES}"));
    let port = probe.ask(question?).await?.parse().unwrap_or(0);
    let channel = probe.evtchn.inter_domain(0, port)?;
    channel.unmask();
    ensure!(channel.wait().await? == 1, "a port that binds is pending");
    bounce(&channel).await?;
    joined(probe).await
}

async fn bounce(channel: &Channel<'_>) -> Outcome<u32> {
    let mut received = 0;
    while received < BOUNCES {
        channel.send();
        received += channel.wait().await?;
    }
    Ok(received)
}

async fn joined(probe: &Probe) -> Outcome {
    let answer = probe.ask(text(format_args!("evtchn join"))?).await?;
    ensure!(answer.as_str() == "100", "dom0 answered 100 events");
    Ok(())
}

/// One event, soon.
async fn heard(channel: &Channel<'_>, timers: &Timers) -> Outcome {
    let heard = timers.timeout(LONG, channel.wait()).await;
    let Ok(count) = heard else {
        return Err(Status::IO_TIMEOUT.into());
    };
    ensure!(count? == 1, "one event");
    Ok(())
}

async fn evtchn_wait_is_given_up_in_time(probe: &Probe, timers: &Timers) -> Outcome {
    let hears = probe.evtchn.unbound(SELF)?;
    let sends = probe.evtchn.inter_domain(SELF, hears.port())?;
    sends.send();
    let early = timers.timeout(SHORT, hears.wait()).await;
    ensure!(early.is_err(), "masked until it is unmasked");
    hears.unmask();
    heard(&hears, timers).await?;
    let late = timers.timeout(SHORT, hears.wait()).await;
    ensure!(late.is_err(), "no event is reported twice");
    for _ in 0..BOUNCES {
        sends.send();
        heard(&hears, timers).await?;
    }
    ensure!(hears.count() == BOUNCES + 1, "all are counted");
    Ok(())
}

async fn evtchn_masks_itself_until_it_is_unmasked(probe: &Probe, timers: &Timers) -> Outcome {
    let hears = probe.evtchn.masking().unbound(SELF)?;
    let sends = probe.evtchn.inter_domain(SELF, hears.port())?;
    hears.unmask();
    for _ in 0..20 {
        sends.send();
        heard(&hears, timers).await?;
        sends.send();
        sends.send();
        let more = timers.timeout(SHORT, hears.wait()).await;
        ensure!(more.is_err(), "masked by the delivery");
        hears.unmask();
        heard(&hears, timers).await?;
        hears.unmask();
    }
    Ok(())
}

async fn evtchn_unmask_tells_whose_the_event_is(probe: &Probe) -> Outcome {
    let hears = probe.evtchn.masking().unbound(SELF)?;
    let sends = probe.evtchn.inter_domain(SELF, hears.port())?;
    sends.send();
    // Delivered to processor 0: there the event is ours, and the channel stays masked; elsewhere it is delivered.
    let ours = hears.try_unmask();
    if ours {
        ensure!(hears.count() == 0, "not counted");
        sends.send();
        hears.unmask();
    }
    ensure!(hears.wait().await? == 1, "the event is delivered");
    ensure!(!hears.try_unmask(), "nothing is pending");
    sends.send();
    ensure!(hears.wait().await? == 1, "and it is unmasked");
    Ok(())
}

async fn evtchn_moves_to_every_processor(probe: &Probe, timers: &Timers) -> Outcome {
    let hears = probe.evtchn.unbound(SELF)?;
    let sends = probe.evtchn.inter_domain(SELF, hears.port())?;
    hears.unmask();
    let count = cpu::count();
    for index in (1..=count).map(|index| index % count) {
        let (group, number) = cpu::number(index)?;
        let refused = index != 0 && probe.one_processor;
        let wanted = if refused {
            Err(Status::NOT_SUPPORTED)
        } else {
            Ok(())
        };
        ensure!(
            hears.bind(group, number) == wanted,
            "moved if it has a vector"
        );
        for _ in 0..20 {
            sends.send();
            heard(&hears, timers).await?;
        }
    }
    ensure!(hears.bind(0, 200).is_err(), "no such processor");
    Ok(())
}

async fn evtchn_triggers_itself(probe: &Probe, timers: &Timers) -> Outcome {
    let channel = probe.evtchn.unbound(0)?;
    for _ in 0..BOUNCES {
        channel.trigger();
        heard(&channel, timers).await?;
    }
    Ok(())
}

async fn evtchn_is_closed_in_a_storm_of_dom0(probe: &Probe, timers: &Timers) -> Outcome {
    let count = if probe.one_processor { 1 } else { cpu::count() };
    for round in 0..8 {
        let channel = probe.evtchn.unbound(0)?;
        let (group, number) = cpu::number(round % count)?;
        channel.bind(group, number)?;
        channel.unmask();
        let question = text(format_args!("evtchn storm {}", channel.port()));
        probe.ask(question?).await?;
        while channel.count() < 20 {
            let heard = timers.timeout(LONG, channel.wait()).await;
            ensure!(heard.is_ok(), "a storm");
        }
        drop(channel);
        // It goes on, and the blocks of the closed channels stay until nobody can be inside.
        timers.sleep(SHORT).await;
        let sent = probe.ask(text(format_args!("evtchn calm"))?).await?;
        ensure!(sent.parse().unwrap_or(0) >= 20, "dom0 sent as many");
    }
    Ok(())
}

/// Channels opened or unmasked before others have their turn: all of this is at DISPATCH_LEVEL.
const AT_ONCE: usize = 32;

/// Opens loops until `wanted` channels are open or one is refused.
async fn fill<'a>(
    probe: &'a Probe,
    timers: &Timers,
    channels: &mut Vec<Channel<'a>>,
    wanted: usize,
) -> Result {
    channels.try_reserve(wanted)?;
    while channels.len() < wanted {
        let Ok(hears) = probe.evtchn.unbound(SELF) else {
            return Ok(());
        };
        let Ok(sends) = probe.evtchn.inter_domain(SELF, hears.port()) else {
            return Ok(());
        };
        channels.try_push(hears)?;
        channels.try_push(sends)?;
        if channels.len().is_multiple_of(AT_ONCE) {
            timers.sleep(SHORT).await;
        }
    }
    Ok(())
}

/// Closes them all.
async fn empty(channels: &mut Vec<Channel<'_>>, timers: &Timers) {
    while channels.pop().is_some() {
        if channels.len().is_multiple_of(AT_ONCE) {
            timers.sleep(SHORT).await;
        }
    }
}

async fn evtchn_opens_as_many_channels_as_the_domain_may(
    probe: &Probe,
    timers: &Timers,
) -> Outcome {
    let asked = probe.channels as usize;
    let wanted = if asked == 0 { 2 * USUAL } else { asked };
    let mut channels = Vec::new(TAG);
    fill(probe, timers, &mut channels, wanted).await?;
    let opened = channels.len();
    if asked == 0 {
        let usual = USUAL / 2..USUAL;
        ensure!(usual.contains(&opened), "refused at the usual limit");
    } else {
        ensure!(opened == asked, "as many as were asked for");
    }
    for part in channels.chunks(AT_ONCE) {
        part.iter().for_each(Channel::unmask);
        timers.sleep(SHORT).await;
    }
    // A port that binds is pending.
    for bound in channels.iter().skip(1).step_by(2) {
        heard(bound, timers).await?;
    }
    for part in channels.chunks(AT_ONCE) {
        part.iter().for_each(Channel::send);
        timers.sleep(SHORT).await;
    }
    for channel in &channels {
        heard(channel, timers).await?;
    }
    empty(&mut channels, timers).await;
    // Nothing is left of those, and of the one that was refused.
    let mut again = Vec::new(TAG);
    fill(probe, timers, &mut again, wanted).await?;
    let reopened = again.len();
    empty(&mut again, timers).await;
    ensure!(reopened == opened, "as many again");
    Ok(())
}
