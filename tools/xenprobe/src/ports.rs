// SPDX-License-Identifier: BSD-2-Clause
//! Event channels whose scene is set through xen.sys: a port that exists already, and a timer.

use kexec::Status;
use kexec::nt::{Vec, cpu};
use kexec::timer::Timers;
use xenbus_interface::client::Channel;
use xenbus_interface::xen;

use crate::evtchn::{LONG, SELF};
use crate::probe::{Outcome, Probe, ensure, run};
use crate::run::TAG;

const VIRQ_TIMER: u32 = 0;
/// 5 ms, in the units of the system.
const PERIOD: i64 = 50_000;

pub(crate) async fn tests(probe: &Probe, timers: &Timers) {
    run!(probe, evtchn_uses_a_fixed_port_and_leaves_it);
    run!(probe, evtchn_hears_the_timer_of_every_processor, timers);
}

/// A port of ours, without a channel; closed when dropped.
struct Port(u32);

impl Drop for Port {
    fn drop(&mut self) {
        if let Err(status) = xen::event_channel_close(self.0) {
            kexec::error!("port {} was not closed, {status}", self.0);
        }
    }
}

async fn evtchn_uses_a_fixed_port_and_leaves_it(probe: &Probe) -> Outcome {
    let port = Port(xen::event_channel_allocate_unbound(SELF)?);
    let sends = probe.evtchn.inter_domain(SELF, port.0)?;
    for _ in 0..2 {
        let fixed = probe.evtchn.fixed(port.0)?;
        ensure!(fixed.port() == port.0, "that port");
        fixed.unmask();
        let second = probe.evtchn.fixed(port.0).err();
        ensure!(
            second == Some(Status::UNSUCCESSFUL),
            "one channel to a port"
        );
        sends.send();
        ensure!(fixed.wait().await? == 1, "one event");
        drop(fixed);
        let left = xen::event_channel_query_inter_domain(port.0);
        ensure!(left.is_ok(), "the port is left");
    }
    Ok(())
}

/// The periodic timer of a vCPU; stopped when dropped.
struct Ticks(u32);

impl Ticks {
    fn start(index: u32) -> Outcome<Self> {
        let vcpu = xen::system_processor_vcpu_id(index)?;
        xen::vcpu_set_periodic_timer(vcpu, Some(PERIOD))?;
        Ok(Self(vcpu))
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        if let Err(status) = xen::vcpu_set_periodic_timer(self.0, None) {
            kexec::error!("the timer of vCPU {} goes on, {status}", self.0);
        }
    }
}

async fn evtchn_hears_the_timer_of_every_processor(probe: &Probe, timers: &Timers) -> Outcome {
    let mut open: Vec<(Channel<'_>, Ticks)> = Vec::new(TAG);
    for index in 0..cpu::count() {
        let (group, number) = cpu::number(index)?;
        let channel = probe.evtchn.virq(VIRQ_TIMER, group, number);
        if index != 0 && probe.one_processor {
            ensure!(channel.is_err(), "a processor without a vector");
            continue;
        }
        let channel = channel?;
        let second = probe.evtchn.virq(VIRQ_TIMER, group, number);
        ensure!(second.is_err(), "one channel to a timer");
        channel.unmask();
        open.try_push((channel, Ticks::start(index)?))?;
    }
    for (channel, _) in &open {
        while channel.count() < 3 {
            let tick = timers.timeout(LONG, channel.wait()).await;
            ensure!(tick.is_ok(), "ticks of each");
        }
    }
    Ok(())
}
